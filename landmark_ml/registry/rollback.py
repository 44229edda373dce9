"""The way back: the champion before, in one step; and the history as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from landmark_ml.registry.champion import Succession
from landmark_ml.registry.entry import counted
from landmark_ml.tracking import run as tracking

if TYPE_CHECKING:
    from landmark_ml.config import HistoryConfig, RollbackConfig
    from landmark_ml.registry.entry import Entry


@dataclass(frozen=True)
class RollbackResult:
    """From which champion to which, the entry that says so, and what was repaired before."""

    name: str
    before: int
    entry: Entry
    repaired: list[str]


def roll_back(config: RollbackConfig) -> RollbackResult:
    """Make the champion before the present one champion again; done twice it goes back two.

    Raises ValueError without a reason or a former champion, OvertakenError when somebody moved
    the champion in the same moment.
    """
    if not config.reason.strip():
        raise ValueError("reason is empty; say why, for those who read the history: -P reason=…")
    tracking.connect()
    succession = Succession(config.name)
    head, repaired = succession.settle()
    former = succession.last_former(head)
    if not former:
        raise ValueError(
            f"{config.name} has no champion before version {head.champion} to go back to; see"
            f" mlflow run . --env-manager local -e history -P name={config.name}"
        )
    entry = succession.move("rollback", former, head, config.reason)
    return RollbackResult(config.name, head.champion, entry, repaired)


def tell_history(config: HistoryConfig) -> tuple[pd.DataFrame, list[str]]:
    """One row an entry, text in every cell, the oldest first; and what was repaired before.

    Raises ValueError when there is no such registered model.
    """
    tracking.connect()
    succession = Succession(config.name)
    _, repaired = succession.settle()
    entries = succession.entries()
    changed = {entry.number for entry in counted(entries)}
    rows = [_row(entry, counts=entry.number in changed or not entry.moves) for entry in entries]
    return pd.DataFrame(
        rows, columns=["#", "when", "what", "champion", "by", "why", "run"]
    ), repaired


def _row(entry: Entry, *, counts: bool) -> dict[str, str]:
    return {
        "#": str(entry.number),
        "when": entry.at,
        "what": f"{entry.kind} {entry.version}" if counts else f"({entry.kind} {entry.version})",
        "champion": str(entry.champion or "none") if counts else "came too late",
        "by": entry.by,
        "why": entry.reason,
        "run": entry.receipt,
    }
