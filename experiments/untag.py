"""`landmarks untag <folder>` or `--immich=<url>`: what the tagger wrote goes again."""

from collections import Counter

from landmark_ml.config import UntagConfig, user_path
from landmark_ml.console import counted
from serving.tagging.immich import FOLDER, untag_immich
from serving.tagging.library import printable
from serving.tagging.sidecars import UNTAGGED_CSV, untag
from serving.tagging.table import MAX_EXAMPLES


def main(config: UntagConfig) -> None:
    """Take out what the tagger wrote, and print it; one that is refused is a failure."""
    if config.immich:
        unit, out, changes = "photo", user_path(config.out) / FOLDER, untag_immich(config)
    elif config.photos:
        unit, out, changes = "sidecar", user_path(config.out), untag(config)
    else:
        raise ValueError("photos is empty; name the folder of your photos: photos=<folder>")
    for change in changes[:MAX_EXAMPLES]:
        print(f"{change.action:8}  {printable(change.sidecar)}: {change.detail}")
    if (more := len(changes) - MAX_EXAMPLES) > 0:
        print(f"and {more:,} more")
    counts = Counter(change.action for change in changes)
    said = ", ".join(f"{count:,} {action}" for action, count in counts.items()) or "none of ours"
    dry = ", if this were no dry run" if config.dry_run else ""
    print(f"{unit + 's':9} {said}{dry}: see {out / UNTAGGED_CSV}")
    if counts["refused"]:
        reason = f"{out / UNTAGGED_CSV} says why"
        raise ValueError(f"{counted(counts['refused'], unit)} refused; {reason}")
