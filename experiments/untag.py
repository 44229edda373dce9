"""`landmarks untag <folder>`: sidecars as they were before the tagger wrote them."""

from collections import Counter

from landmark_ml.config import UntagConfig, user_path
from landmark_ml.console import counted
from serving.tagging.sidecars import UNTAGGED_CSV, untag
from serving.tagging.table import MAX_EXAMPLES, printable


def main(config: UntagConfig) -> None:
    """Take out what the tagger wrote, and print it; a sidecar that is refused is a failure."""
    if not config.photos:
        raise ValueError("photos is empty; name the folder of your photos: photos=<folder>")
    changes = untag(config)
    for change in changes[:MAX_EXAMPLES]:
        print(f"{change.action:8}  {printable(change.sidecar)}: {change.detail}")
    if (more := len(changes) - MAX_EXAMPLES) > 0:
        print(f"and {more:,} more")
    counts = Counter(change.action for change in changes)
    said = ", ".join(f"{count:,} {action}" for action, count in counts.items()) or "none of ours"
    dry = ", if this were no dry run" if config.dry_run else ""
    table = user_path(config.out) / UNTAGGED_CSV
    print(f"sidecars  {said}{dry}: see {table}")
    if counts["refused"]:
        raise ValueError(f"{counted(counts['refused'], 'sidecar')} refused; {table} says why")
