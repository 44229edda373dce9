"""One entry of the history: what happened to a version, and who is champion after it."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

Kind = Literal["register", "promote", "rollback", "observe", "refuse"]
"""`observe`: the alias was moved by something else; `refuse`: a promotion that was turned down."""

APPLIED = "applied"
"""Tag of an entry that the aliases have followed."""

_SENTENCES: dict[str, str] = {
    "register": "Version {version} is the first champion.",
    "promote": "Version {version} was promoted.",
    "rollback": "Rolled back to version {version}.",
    "observe": "The alias champion was moved outside this history, to {champion}.",
    "refuse": "Version {version} was refused.",
}


@dataclass(frozen=True)
class Entry:
    """What happened to `version`, and who is champion after it.

    champion: 0 for none. former: champions before it that were not rolled back, the last one the
    latest. based_on: number of the move it follows. at: ISO 8601, UTC. receipt: id of the MLflow
    run with the evidence, if any. ticket: what its writer knows it by. model_made: when the
    registered model was made, in the registry's words. applied: whether the aliases have followed.
    """

    kind: Kind
    version: int
    champion: int
    former: tuple[int, ...]
    based_on: int
    reason: str
    receipt: str = ""
    by: str = ""
    at: str = ""
    ticket: str = ""
    model_made: str = ""
    number: int = 0
    applied: bool = False

    @property
    def moves(self) -> bool:
        """Whether it says who is champion, rather than recording that nothing changed."""
        return self.kind != "refuse"

    @property
    def sentence(self) -> str:
        """The entry as a person reads it."""
        champion = f"version {self.champion}" if self.champion else "nothing"
        what = _SENTENCES[self.kind].format(version=self.version, champion=champion)
        return f"{what} {self.reason}".strip()


def signed(entry: Entry) -> Entry:
    """Entry with who writes it, when, and a ticket of its own."""
    return replace(
        entry, by=_who(), at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", ticket=uuid.uuid4().hex
    )


def entry_tags(entry: Entry) -> dict[str, str]:
    """Tags of the version that holds an entry."""
    tags = {
        "kind": entry.kind,
        "version": str(entry.version),
        "champion": str(entry.champion),
        "former": ",".join(map(str, entry.former)),
        "based_on": str(entry.based_on),
        "reason": entry.reason,
        "receipt": entry.receipt,
        "by": entry.by,
        "at": entry.at,
        "ticket": entry.ticket,
        "model_made": entry.model_made,
    }
    return tags | ({APPLIED: "true"} if entry.applied else {})


def counted(entries: Sequence[Entry]) -> list[Entry]:
    """Entries of a history that changed who is champion, in order.

    A move counts when it is based on the one that counted last. One whose base was deleted from
    the registry is believed: the writer saw what can no longer be read.
    """
    numbers = {entry.number for entry in entries}
    moves: list[Entry] = []
    for entry in entries:
        last = moves[-1].number if moves else 0
        orphaned = entry.based_on > last and entry.based_on not in numbers
        if entry.moves and (entry.based_on == last or orphaned):
            moves.append(entry)
    return moves


def rolled_back(moves: Sequence[Entry]) -> frozenset[int]:
    """Versions that a rollback dethroned and nobody has promoted since, of moves in order."""
    out: set[int] = set()
    champion = 0
    for move in moves:
        if move.kind == "rollback":
            out.add(champion)
        out.discard(move.champion)
        champion = move.champion
    return frozenset(out)


def is_entry(version: ModelVersion) -> bool:
    """Whether a version of the history is an entry; any model can be registered under any name."""
    if "ticket" in version.tags:
        return True
    logger.warning("version %s of %s is no entry and is passed over", version.version, version.name)
    return False


def read_entry(version: ModelVersion) -> Entry:
    """Entry that a version of the history holds."""
    tags = version.tags
    return Entry(
        kind=cast(Kind, tags["kind"]),
        version=int(tags["version"]),
        champion=int(tags["champion"]),
        former=tuple(int(number) for number in tags["former"].split(",") if number),
        based_on=int(tags["based_on"]),
        reason=tags["reason"],
        receipt=tags["receipt"],
        by=tags["by"],
        at=tags["at"],
        ticket=tags["ticket"],
        model_made=tags.get("model_made", ""),
        number=int(version.version),
        applied=APPLIED in tags,
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
