"""`landmarks history`: who became champion when, by whom and why."""

import json
import sys

from landmark_ml.config import HistoryConfig
from landmark_ml.registry.history import tell_history


def main(config: HistoryConfig) -> None:
    """Print each entry; one in brackets came too late and changed nothing."""
    rows, repaired = tell_history(config)
    for note in repaired:
        print(f"repaired: {note}", file=sys.stderr)
    if config.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for entry in rows:
        champion = f"champion {entry['champion']}"
        print(f"{entry['#']:>4}  {entry['when']}  {entry['what']:<14} {champion:<14} {entry['by']}")
        if entry["why"]:
            print(f"      {entry['why']}")
        if entry["run"]:
            print(f"      run {entry['run']}")
    if not rows:
        print("nothing has happened yet")
