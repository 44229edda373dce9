"""The append-only history of a registered model, kept in the registry as a model of its own.

Entry n of the history of `landmarks` is version n of the registered model `landmarks.history`: its
tags hold the entry, its description says it in a sentence, its source is the version it is about.
MLflow numbers versions by a primary key, on every database and behind its server. So writers that
append at the same time get numbers of their own, and everybody reads the same order.

That order decides. A move is an entry that changes the champion. It names the move it is based on,
and it counts only if no other move came in between (`counted`). Appending is therefore a
compare-and-set that needs no lock, lease or clock. A move that came too late stays in the history
and changes nothing.

When a registered model is deleted and created again, its versions start from 1 again. Entries
carry the creation time of their model, so that entries about the former model can be ignored.
"""

from __future__ import annotations

import getpass
import logging
import math
import os
import socket
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

from landmark_ml.config import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

Kind = Literal["register", "promote", "rollback", "observe", "refuse"]
"""`observe`: something else moved the alias; `refuse`: a promotion that was turned down."""

_SENTENCES: dict[str, str] = {
    "register": "Version {version} is the first champion.",
    "promote": "Version {version} was promoted.",
    "rollback": "Rolled back to version {version}.",
    "observe": "The alias champion was moved outside this history, to {champion}.",
    "refuse": "Version {version} was refused.",
}
_NEWEST, _ALL = 20, 1000


@dataclass(frozen=True)
class Entry:
    """What happened to `version`, and who is champion after it.

    champion: 0 for none. former: earlier champions that were not rolled back, the latest last.
    based_on: number of the move it follows, 0 for none. receipt: id of the MLflow run with the
    evidence, if any. by: user and host. at: ISO 8601, UTC. token: unique to the attempt to write
    it. model_created: creation time of the registered model, as the registry gives it. number:
    place in the history, from 1; 0 before it is written.
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
    token: str = ""
    model_created: str = ""
    number: int = 0

    @property
    def is_move(self) -> bool:
        """Whether it says who is champion, rather than recording that nothing changed."""
        return self.kind != "refuse"

    @property
    def sentence(self) -> str:
        """The entry for people."""
        champion = f"version {self.champion}" if self.champion else "nothing"
        what = _SENTENCES[self.kind].format(version=self.version, champion=champion)
        return f"{what} {self.reason}".strip()


NO_MOVE = Entry("observe", 0, 0, (), 0, "")
"""What stands in for the last move of a history without one."""


def history_name(name: str) -> str:
    """Registered model that holds the history of another."""
    return name + HISTORY_SUFFIX


def counted(entries: Sequence[Entry], known: int = 0) -> list[Entry]:
    """Moves that changed the champion, of entries in order.

    A move counts when it is based on the last one that counted. If its base was deleted from the
    registry it counts too: its writer saw what can no longer be read. known: number of a move that
    counts although the entries before it are not given.
    """
    numbers = {entry.number for entry in entries}
    moves: list[Entry] = []
    for entry in entries:
        last = moves[-1].number if moves else 0
        base_deleted = entry.based_on > last and entry.based_on not in numbers
        follows = entry.is_move and (entry.based_on == last or base_deleted)
        if follows or entry.number == known:
            moves.append(entry)
    return moves


def rolled_back(moves: Sequence[Entry]) -> frozenset[int]:
    """Versions that were rolled back and not promoted again since, of counted moves in order."""
    out: set[int] = set()
    champion = 0
    for move in moves:
        if move.kind == "rollback":
            out.add(champion)
        out.discard(move.champion)
        champion = move.champion
    return frozenset(out)


class EntryLog:
    """Reads and extends the history of one registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self._about = name
        self._name = history_name(name)
        self._created = ""

    def entries(self) -> list[Entry]:
        """All entries, the oldest first; those deleted from the registry are missing."""
        return list(self._newest_first(_ALL))[::-1]

    def moves(self, since: int | None = None) -> list[Entry]:
        """Moves that count, the oldest first, from one that is known to count on.

        since: number of that move, 0: read the whole history. None: the move that the newest entry
        is based on, which counted when that entry was written. So the last move is always among
        them, and only the end of a long history is read.
        """
        read: list[Entry] = []
        for entry in self._newest_first(_NEWEST):
            since = entry.based_on if since is None else since
            read.append(entry)
            if entry.number == since:
                break
        return counted(read[::-1], since or 0)

    def head(self) -> Entry:
        """The last move that counts, `NO_MOVE` where there is none."""
        return next(reversed(self.moves()), NO_MOVE)

    def append(self, entry: Entry) -> Entry:
        """Sign an entry, write it and return it with its number; it need not count."""
        entry = replace(
            entry,
            by=_who(),
            at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            token=uuid.uuid4().hex,
            model_created=self._model_created(),
        )
        # A try that fails after it wrote is repeated; the copy is based on the past, so it
        # does not count.
        created = self._client.create_model_version(
            self._name,
            f"models:/{self._about}/{entry.version}",
            tags=to_tags(entry),
            description=entry.sentence,
            await_creation_for=0,
        )
        return replace(entry, number=int(created.version))

    def _model_created(self) -> str:
        if not self._created:
            model = self._client.get_registered_model(self._about)
            self._created = str(model.creation_timestamp)
        return self._created

    def _newest_first(self, page_size: int) -> Iterator[Entry]:
        token: str | None = None
        last = math.inf
        while True:
            page = self._client.search_model_versions(
                f"name = '{self._name}'",
                order_by=["version_number DESC"],
                max_results=page_size,
                page_token=token,
            )
            for version in page:
                # An entry appended meanwhile shifts one that was read into the next page.
                if int(version.version) >= last:
                    continue
                last = int(version.version)
                entry = _from_version(version)
                # The first histories did not carry the creation time.
                if entry and entry.model_created in ("", self._model_created()):
                    yield entry
            token = page.token
            if not token:
                return


def to_tags(entry: Entry) -> dict[str, str]:
    """Tags of the version that holds an entry."""
    return {
        "kind": entry.kind,
        "version": str(entry.version),
        "champion": str(entry.champion),
        "former": ",".join(map(str, entry.former)),
        "based_on": str(entry.based_on),
        "reason": entry.reason,
        "receipt": entry.receipt,
        "by": entry.by,
        "at": entry.at,
        "ticket": entry.token,
        "model_made": entry.model_created,
    }


def _from_version(version: ModelVersion) -> Entry | None:
    """Entry that a version of the history holds; None for any other model registered there."""
    tags = version.tags
    if "ticket" not in tags:
        logger.warning("version %s of %s is not an entry: ignored", version.version, version.name)
        return None
    return Entry(
        kind=cast("Kind", tags["kind"]),
        version=int(tags["version"]),
        champion=int(tags["champion"]),
        former=tuple(int(number) for number in tags["former"].split(",") if number),
        based_on=int(tags["based_on"]),
        reason=tags["reason"],
        receipt=tags["receipt"],
        by=tags["by"],
        at=tags["at"],
        token=tags["ticket"],
        model_created=tags.get("model_made", ""),
        number=int(version.version),
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id without a name.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
