"""Go back to the champion before this one, and show the history as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.registry.champion import AliasHistory
from landmark_ml.registry.history import counted
from landmark_ml.tracking import run as tracking

if TYPE_CHECKING:
    from landmark_ml.config import HistoryConfig, RollbackConfig
    from landmark_ml.registry.history import Entry


@dataclass(frozen=True)
class RollbackResult:
    """The champion before the rollback, the entry about it, and what was repaired first."""

    name: str
    before: int
    entry: Entry
    repaired: list[str]


def roll_back(config: RollbackConfig) -> RollbackResult:
    """Make the former champion champion again; done twice it goes back two.

    Raises ValueError without a reason or a former champion, ConflictError when somebody moved
    the champion at the same moment.
    """
    if not config.reason.strip():
        raise ValueError("reason is empty; say why, for those who read the history: -P reason=…")
    tracking.connect()
    history = AliasHistory(config.name)
    head, repaired = history.reconcile()
    former = history.last_existing(head.former)
    if not former:
        raise ValueError(
            f"{config.name} has no champion before version {head.champion} to go back to; see"
            f" mlflow run . --env-manager local -e history -P name={config.name}"
        )
    entry = history.move("rollback", former, head, config.reason)
    return RollbackResult(config.name, head.champion, entry, repaired)


def tell_history(config: HistoryConfig) -> tuple[list[dict[str, str]], list[str]]:
    """One row for each entry, the oldest first, and what was repaired before.

    A row has `#`, `when`, `what`, `champion`, `by`, `why` and `run`. Raises ValueError when there
    is no such registered model.
    """
    tracking.connect()
    history = AliasHistory(config.name)
    _, repaired = history.reconcile()
    entries = history.entries()
    moves = {move.number for move in counted(entries)}
    rows = []
    for entry in entries:
        what, late = f"{entry.kind} {entry.version}", entry.is_move and entry.number not in moves
        row = {
            "#": str(entry.number),
            "when": entry.at,
            "what": f"({what})" if late else what,
            "champion": "came too late" if late else str(entry.champion or "none"),
            "by": entry.by,
            "why": entry.reason,
            "run": entry.receipt,
        }
        rows.append(row)
    return rows, repaired
