"""Who is champion of a registered model: the history decides, and the aliases follow it.

Entry n of the history of `landmarks` is version n of the registered model `landmarks.history`: its
tags hold the entry, its description says it in a sentence, its source is the version it is about.
MLflow numbers versions by a primary key, on every database and behind its server. So writers that
append at the same time get numbers of their own, and everybody reads the same order.

That order decides. A move is an entry that changes the champion. It names the move it is based on,
and it counts only if no other move came in between (`counted`). Appending is therefore a
compare-and-set that needs no lock, lease or clock. A move that came too late stays in the history
and changes nothing.

MLflow sets one alias at a time and never checks what it overwrites. So two processes that promote
at once could leave the `champion` of one promotion beside the `previous` of the other. Therefore:

1. A process first leaves a mark that it is about to set aliases, and appends its move to the
   history, based on the last move it knew. If another move came first, this one does not count:
   `ConflictError` is raised and nothing has changed.
2. It sets the aliases to what the last move that counts says: `previous` before `champion`, so
   that `champion` always names the old or the new version.
3. It reads the history again. If the history has grown, this process may have overwritten the
   aliases of a later move, so it sets them once more. Then it removes its mark.

A process that is killed leaves its mark. While there is a mark, aliases that differ from the
history are unfinished work, and the next command sets them. Without a mark something else moved
them, such as a person in the MLflow UI: that move is written into the history and kept.

`reconcile` reads the history before the marks and the marks before the aliases. So when it sees
the aliases of another process without that process's mark, its own history is too old: the move it
would write comes too late. A mark of ten minutes is removed if all is in order; nothing else
depends on a clock. The registry must number versions uniquely and read what was written before.

When a registered model is deleted and created again, its versions start from 1 again. Entries
carry the creation time of their model, so that entries about the former model can be ignored.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shlex
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from landmark_ml.config import HISTORY_SUFFIX, HistoryConfig, RollbackConfig
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.errors import find, patient

logger = logging.getLogger(__name__)

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
MOST_FORMER = 100
"""How many rollbacks in a row are possible: an entry lists this many earlier champions."""

LONGEST_DESCRIPTION = 5000
ROLLED_BACK = "rolled_back"
"""Tag of a version that was rolled back and not promoted since: when, ISO 8601, UTC."""

Kind = Literal["register", "promote", "rollback", "observe", "refuse"]
"""`observe`: something else moved the alias; `refuse`: a promotion that was turned down."""

_SENTENCES: dict[str, str] = {
    "register": "Version {version} is the first champion.",
    "promote": "Version {version} was promoted.",
    "rollback": "Rolled back to version {version}.",
    "observe": "The alias champion was moved outside this history, to {champion}.",
    "refuse": "Version {version} was refused.",
}
_MOST_ENTRIES = 10_000
_MARK = "moving."
_FORGET_SECONDS = 600.0


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


def counted(entries: Sequence[Entry]) -> list[Entry]:
    """Moves that changed the champion, of entries in order.

    A move counts when it is based on the last one that counted. If its base was deleted from the
    registry it counts too: its writer saw what can no longer be read.
    """
    numbers = {entry.number for entry in entries}
    moves: list[Entry] = []
    for entry in entries:
        last = moves[-1].number if moves else 0
        base_deleted = entry.based_on > last and entry.based_on not in numbers
        if entry.is_move and (entry.based_on == last or base_deleted):
            moves.append(entry)
    return moves


def _last_move(entries: Sequence[Entry]) -> Entry:
    """The last move that counts, `NO_MOVE` where there is none."""
    return next(reversed(counted(entries)), NO_MOVE)


def rolled_back(entries: Sequence[Entry]) -> frozenset[int]:
    """Versions that were rolled back and not promoted again since, of entries in order."""
    out: set[int] = set()
    champion = 0
    for move in counted(entries):
        if move.kind == "rollback":
            out.add(champion)
        out.discard(move.champion)
        champion = move.champion
    return frozenset(out)


class ConflictError(ValueError):
    """Another move came first; nothing was changed."""


class AliasHistory:
    """Who is champion of a registered model; every change of it goes through here."""

    def __init__(self, name: str, client: MlflowClient | None = None) -> None:
        self.name = name
        self._client = patient(client or MlflowClient())
        self._created = ""

    def reconcile(self) -> tuple[Entry, list[str]]:
        """The last move, once the aliases follow it, and notes on what was repaired for that.

        Without any move it is `NO_MOVE`. Raises ValueError when there is no such registered model.
        """
        _, head, notes = self.read()
        return head, notes

    def read(self) -> tuple[list[Entry], Entry, list[str]]:
        """All entries, and what `reconcile` gives, from one reading."""
        self._registered_model()
        notes: list[str] = []
        while True:
            # The order matters, see above.
            entries = self.entries()
            head, marks, aliases = _last_move(entries), self._marks(), self._aliases()
            wanted = self._wanted(head, aliases)
            deleted = head.champion != wanted[CHAMPION]
            if deleted and not self._newest_version():
                return entries, replace(head, champion=0, former=()), notes
            if aliases == wanted and not deleted:
                for key, set_at in marks.items():
                    if time.time() - set_at > _FORGET_SECONDS:
                        self._unmark(key)
                return entries, head, notes
            if deleted or (aliases[CHAMPION] != wanted[CHAMPION] and not marks):
                notes += self._observe(head, aliases)
            else:
                with self._mark():
                    self._follow(_last_move(self.entries()))
                notes.append(
                    f"the aliases of {self.name} were left half-way and now follow entry"
                    f" {head.number} of its history: {head.sentence}"
                )

    def move(self, kind: Kind, version: int, since: Entry, reason: str, receipt: str = "") -> Entry:
        """Make a version champion if nobody has moved the champion since that entry.

        kind `rollback`: the champion, and those before it back to the version, are no former
        champions any more. Raises ConflictError when somebody has moved the champion.
        """
        former = _former_after(since)
        if kind == "rollback":
            before = _before(since.former, version)
            former = tuple(number for number in before if number != since.champion)
        entry = Entry(kind, version, version, former, since.number, reason, receipt)
        # A person may have moved the alias while the evidence was gathered.
        head, _ = self.reconcile()
        if head.number != since.number:
            raise self._conflict(entry, counted(self.entries()))
        return self._append_and_follow(entry)

    def log_refusal(self, version: int, since: Entry, reason: str, receipt: str) -> None:
        """Write down that a version was not promoted."""
        self.append(
            Entry("refuse", version, since.champion, since.former, since.number, reason, receipt)
        )

    def set_challenger(self, version: int) -> None:
        """Name the version that waits for a promotion."""
        self._client.set_registered_model_alias(self.name, CHALLENGER, str(version))

    def last_existing(self, versions: Sequence[int]) -> int:
        """The last of some versions that was not deleted, 0 for none."""
        for version in reversed(versions):
            if find(partial(self._client.get_model_version, self.name, str(version))):
                return version
        return 0

    def entries(self) -> list[Entry]:
        """All entries, the oldest first; those deleted from the registry are missing."""
        found = self._client.search_model_versions(
            f"name = '{history_name(self.name)}'",
            order_by=["version_number DESC"],
            max_results=_MOST_ENTRIES,
        )
        read = [entry for version in reversed(found) if (entry := _from_version(version))]
        return [entry for entry in read if entry.model_created in ("", self._model_created())]

    def append(self, entry: Entry) -> Entry:
        """Sign an entry, write it and return it with its number; it need not count."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            # A container may run under a user id without a name.
            user = f"uid {os.getuid()}"
        entry = replace(
            entry,
            by=f"{user}@{socket.gethostname()}",
            at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            token=uuid.uuid4().hex,
            model_created=self._model_created(),
        )
        # A try that fails after it wrote is repeated; the copy is based on the past, so it
        # does not count.
        created = self._client.create_model_version(
            history_name(self.name),
            f"models:/{self.name}/{entry.version}",
            tags=to_tags(entry),
            description=entry.sentence,
            await_creation_for=0,
        )
        return replace(entry, number=int(created.version))

    def _append_and_follow(self, entry: Entry) -> Entry:
        with self._mark():
            written = self.append(entry)
            moves = counted(self.entries())
            if all(move.token != written.token for move in moves):
                raise self._conflict(entry, moves)
            self._follow(moves[-1])
        return written

    def _conflict(self, entry: Entry, moves: Sequence[Entry]) -> ConflictError:
        first = [move for move in moves if move.number > entry.based_on]
        done = " ".join(f"{move.sentence} ({move.by}, {move.at})" for move in first)
        return ConflictError(
            f"version {entry.version} of {self.name} was not made champion, because another move"
            f" came first: {done} Start again to judge against that champion"
        )

    def _follow(self, head: Entry) -> None:
        """Set the aliases until they are those of the last move: steps 2 and 3 above.

        head: the last move, read after the mark was left.
        """
        done: int | None = None
        while head.number != done:
            aliases = self._aliases()
            for alias, version in self._wanted(head, aliases).items():
                if version == aliases[alias]:
                    continue
                if version:
                    self._client.set_registered_model_alias(self.name, alias, str(version))
                else:
                    self._client.delete_registered_model_alias(self.name, alias)
            done, head = head.number, _last_move(self.entries())

    def _observe(self, head: Entry, aliases: dict[str, int]) -> list[str]:
        """Write down that something else moved the champion, unless a move comes first."""
        champion, former = aliases[CHAMPION], _former_after(head)
        if head is NO_MOVE and aliases[PREVIOUS]:
            former = (aliases[PREVIOUS],)
        entry = Entry(
            kind="observe",
            version=champion or self._newest_version(),
            champion=champion,
            former=_before(former, champion),
            based_on=head.number,
            reason="The history begins here." if head is NO_MOVE else "",
        )
        with contextlib.suppress(ConflictError):
            return [f"{self.name}: {self._append_and_follow(entry).sentence}"]
        return []

    def _registered_model(self) -> RegisteredModel:
        model = find(lambda: self._client.get_registered_model(self.name))
        if model is None:
            raise ValueError(
                f"there is no registered model {self.name!r}; train one of this name:"
                f" make transfer model={shlex.quote(self.name)}"
            )
        return model

    def _model_created(self) -> str:
        if not self._created:
            self._created = str(self._registered_model().creation_timestamp)
        return self._created

    def _aliases(self) -> dict[str, int]:
        """Versions by alias, in the order in which aliases are set; 0 for none."""
        found = self._registered_model().aliases
        return {alias: int(found.get(alias, 0)) for alias in (CHALLENGER, PREVIOUS, CHAMPION)}

    def _wanted(self, head: Entry, aliases: dict[str, int]) -> dict[str, int]:
        """What the aliases should be after a move; a version that was deleted gets none."""
        promoted = aliases[CHALLENGER] == head.champion
        return {
            CHALLENGER: 0 if promoted else aliases[CHALLENGER],
            PREVIOUS: self.last_existing(head.former),
            CHAMPION: self.last_existing([head.champion]) if head.champion else 0,
        }

    def _newest_version(self) -> int:
        found = self._client.search_model_versions(
            f"name = '{self.name}'", order_by=["version_number DESC"], max_results=1
        )
        return int(found[0].version) if found else 0

    @contextlib.contextmanager
    def _mark(self) -> Iterator[None]:
        """Leave a mark on the history while aliases are set; if that is cut short, it stays."""
        key, now = _MARK + uuid.uuid4().hex, str(time.time())
        self._client.set_registered_model_tag(history_name(self.name), key, now)
        try:
            yield
        except ConflictError:
            self._unmark(key)
            raise
        self._unmark(key)

    def _unmark(self, key: str) -> None:
        # Another process may have removed it as forgotten.
        with contextlib.suppress(MlflowException):
            self._client.delete_registered_model_tag(history_name(self.name), key)

    def _marks(self) -> dict[str, float]:
        """Marks and when they were set, in seconds since 1970; creates the history if need be."""
        history = find(lambda: self._client.get_registered_model(history_name(self.name)))
        if history:
            marks = history.tags.items()
            return {key: float(at) for key, at in marks if key.startswith(_MARK)}
        try:
            self._client.create_registered_model(
                history_name(self.name),
                description=f"Alias history of `{self.name}`; it holds no model. Version n is"
                " entry n. Written by promote, rollback and training; do not edit it.",
            )
        except MlflowException as error:
            # Two processes may create it at once.
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        return {}


def roll_back(config: RollbackConfig) -> tuple[int, Entry, list[str]]:
    """Make the former champion champion again; done twice it goes back two.

    Gives the champion before, the entry about the rollback, and what was repaired first. Raises
    ValueError without a reason or a former champion, ConflictError when somebody moved the champion
    at the same moment.
    """
    if not config.reason.strip():
        raise ValueError(
            "reason is empty; say why, for those who read the history: reason='tags the sea'"
        )
    tracking.connect()
    history = AliasHistory(config.model)
    head, repaired = history.reconcile()
    former = history.last_existing(head.former)
    if not former:
        raise ValueError(
            f"{config.model} has no champion before version {head.champion} to go back to; see"
            f" make history model={shlex.quote(config.model)}"
        )
    entry = history.move("rollback", former, head, config.reason)
    if head.champion:
        client, number = patient(MlflowClient()), str(head.champion)
        client.set_model_version_tag(config.model, number, ROLLED_BACK, entry.at)
        reason = " ".join(config.reason.split())
        line = f"**Rolled back** to version {former}, {entry.at}: {reason}"
        card = client.get_model_version(config.model, number).description or ""
        text = f"{line}\n\n{card}"[:LONGEST_DESCRIPTION]
        client.update_model_version(config.model, number, text)
    return head.champion, entry, repaired


def tell_history(config: HistoryConfig) -> tuple[list[dict[str, str]], list[str]]:
    """One row for each entry, the oldest first, and what was repaired before.

    A row has `#`, `when`, `what`, `champion`, `by`, `why` and `run`. Raises ValueError when there
    is no such registered model.
    """
    tracking.connect()
    history = AliasHistory(config.model)
    entries, _, repaired = history.read()
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


# The names that histories were written with first.
_TAG_NAMES = {"token": "ticket", "model_created": "model_made"}


def to_tags(entry: Entry) -> dict[str, str]:
    """Tags of the version that holds an entry."""
    values = asdict(entry) | {"former": ",".join(map(str, entry.former))}
    del values["number"]
    return {_TAG_NAMES.get(name, name): str(value) for name, value in values.items()}


def _from_version(version: ModelVersion) -> Entry | None:
    """Entry that a version of the history holds; None for any other model registered there."""
    tags = version.tags
    if "ticket" not in tags:
        logger.warning("version %s of %s is not an entry: ignored", version.version, version.name)
        return None
    # The first histories did not carry the creation time of the model.
    values: dict[str, Any] = {
        field.name: tags.get(_TAG_NAMES.get(field.name, field.name), "") for field in fields(Entry)
    }
    values |= {name: int(values[name]) for name in ("version", "champion", "based_on")}
    former = tuple(int(number) for number in values["former"].split(",") if number)
    return Entry(**values | {"former": former, "number": int(version.version)})


def _former_after(entry: Entry) -> tuple[int, ...]:
    """Former champions once another takes over from that of an entry."""
    former = (*entry.former, entry.champion) if entry.champion else entry.former
    return former[-MOST_FORMER:]


def _before(former: tuple[int, ...], version: int) -> tuple[int, ...]:
    """Former champions before a version was champion last; all if it never was."""
    if version not in former:
        return former
    return former[: len(former) - 1 - former[::-1].index(version)]
