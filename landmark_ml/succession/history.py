"""The append-only history of a registered model, kept in the registry as a model of its own.

Entry n of the history of `landmarks` is version n of `landmarks.history`: its tags are the entry,
its description is the entry as a sentence, its source is the version it is about. MLflow numbers
versions by a primary key, on every database and behind its server, so that of writers that append
at the same time each gets a number of its own and all read the same order. That order decides:
an entry that moves the champion names the entry it is based on, and counts only if no other move
came between (`counted`). Appending is therefore a compare-and-set, without a lock, a lease or a
clock. An entry that did not count stays where it is and changes nothing.
"""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from landmark_ml.config import HISTORY_SUFFIX
from landmark_ml.succession.retrying import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

Kind = Literal["register", "promote", "rollback", "observe", "refuse"]
"""`observe`: the alias was moved by something else; `refuse`: a promotion that was turned down."""

_APPLIED = "applied"
_FEW, _MANY = 20, 1000
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
    run with the evidence, if any. ticket: what its writer knows it by. applied: whether the
    aliases have followed.
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


def history_name(name: str) -> str:
    """Registered model that holds the history of another."""
    return name + HISTORY_SUFFIX


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
    }
    return tags | ({_APPLIED: "true"} if entry.applied else {})


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


class History:
    """Reads and extends the history of one registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self._about = name
        self.name = history_name(name)

    def open(self) -> None:
        """Lay the history where there is none."""
        try:
            self._client.create_registered_model(
                self.name,
                description=f"Append-only history of `{self._about}`: version n is entry n. Written"
                " by promote, rollback and training; do not edit it.",
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise

    def is_empty(self) -> bool:
        """Whether there is no entry, or no history yet."""
        return not self._page(None, 1)

    def entries(self) -> list[Entry]:
        """All entries, the oldest first; those deleted from the registry are missing."""
        return self._back_to(lambda _: False, _MANY)

    def moves(self, since: int | None = None) -> list[Entry]:
        """Entries that changed who is champion, in order, from one that was applied on.

        since: number of a move that is among them, or before them all. None: only the last moves.
        """

        def is_base(entry: Entry) -> bool:
            # What was applied did count, so that nothing before it decides about what comes after.
            return entry.moves and entry.applied and (since is None or entry.number <= since)

        return counted(self._back_to(is_base, _FEW))

    def append(self, entry: Entry) -> Entry:
        """Write an entry and return it with its number; tells nothing of whether it counts."""
        source = f"models:/{self._about}/{entry.version}"
        created = patiently(
            # Written twice it would not count twice: the second is based on what is past.
            lambda: self._client.create_model_version(
                self.name,
                source,
                tags=entry_tags(entry),
                description=entry.sentence,
                await_creation_for=0,
            )
        )
        return replace(entry, number=int(created.version))

    def mark_applied(self, entry: Entry) -> None:
        """Note that the aliases follow an entry."""
        patiently(
            lambda: self._client.set_model_version_tag(
                self.name, str(entry.number), _APPLIED, "true"
            )
        )

    def _back_to(self, is_last: Callable[[Entry], bool], at_once: int) -> list[Entry]:
        """Entries from the newest back to the first that is the last to read, in order."""
        found: dict[int, Entry] = {}
        token: str | None = None
        while True:
            page = self._page(token, at_once)
            for entry in map(_read, page):
                # What is appended meanwhile shifts an entry into the next page too.
                found[entry.number] = entry
                if is_last(entry):
                    token = None
                    break
            else:
                token = page.token
            if not token:
                return [found[number] for number in sorted(found)]

    def _page(self, token: str | None, most: int) -> PagedList[ModelVersion]:
        search = f"name = '{self.name}'"
        return patiently(
            lambda: self._client.search_model_versions(
                search, order_by=["version_number DESC"], max_results=most, page_token=token
            )
        )


def _read(version: ModelVersion) -> Entry:
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
        number=int(version.version),
        applied=_APPLIED in tags,
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
