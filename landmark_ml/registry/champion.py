"""The aliases champion, previous and challenger: the history decides, and the aliases follow it.

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
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from landmark_ml.registry.history import NO_MOVE, Entry, EntryLog, history_name
from landmark_ml.tracking.errors import is_not_there, patient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow.entities.model_registry import RegisteredModel

    from landmark_ml.registry.history import Kind

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
MOST_FORMER = 100
"""How many rollbacks in a row are possible: an entry lists this many earlier champions."""

_MARK = "moving."
_FORGET_SECONDS = 600.0


class ConflictError(ValueError):
    """Another move came first; nothing was changed."""


class AliasHistory:
    """Who is champion of a registered model; every change of it goes through here."""

    def __init__(self, name: str, client: MlflowClient | None = None) -> None:
        self.name = name
        self._client = patient(client or MlflowClient())
        self._log = EntryLog(self._client, name)

    def entries(self) -> list[Entry]:
        """The whole history, the oldest entry first."""
        return self._log.entries()

    def reconcile(self) -> tuple[Entry, list[str]]:
        """The last move, once the aliases follow it, and notes on what was repaired for that.

        Without any move it is `NO_MOVE`. Raises ValueError when there is no such registered model.
        """
        self._registered_model()
        notes: list[str] = []
        while True:
            # The order matters, see above.
            head, marks, aliases = self._log.head(), self._marks(), self._aliases()
            wanted = self._wanted(head, aliases)
            deleted = head.champion != wanted[CHAMPION]
            if deleted and not self._newest_version():
                return replace(head, champion=0, former=()), notes
            if aliases == wanted and not deleted:
                for key, set_at in marks.items():
                    if time.time() - set_at > _FORGET_SECONDS:
                        self._unmark(key)
                return head, notes
            if deleted or (aliases[CHAMPION] != wanted[CHAMPION] and not marks):
                notes += self._observe(head, aliases)
            else:
                with self._mark():
                    self._follow()
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
            raise self._conflict(entry)
        return self._append_and_follow(entry)

    def log_refusal(self, version: int, since: Entry, reason: str, receipt: str) -> None:
        """Write down that a version was not promoted."""
        self._log.append(
            Entry("refuse", version, since.champion, since.former, since.number, reason, receipt)
        )

    def set_challenger(self, version: int) -> None:
        """Name the version that waits for a promotion."""
        self._client.set_registered_model_alias(self.name, CHALLENGER, str(version))

    def last_existing(self, versions: Sequence[int]) -> int:
        """The last of some versions that was not deleted, 0 for none."""
        for version in reversed(versions):
            try:
                self._client.get_model_version(self.name, str(version))
            except MlflowException as error:
                if not is_not_there(error):
                    raise
            else:
                return version
        return 0

    def _append_and_follow(self, entry: Entry) -> Entry:
        with self._mark():
            written = self._log.append(entry)
            moves = self._log.moves(entry.based_on)
            if not any(move.token == written.token for move in moves):
                raise self._conflict(entry)
            self._follow()
        return written

    def _conflict(self, entry: Entry) -> ConflictError:
        moves = self._log.moves(entry.based_on)
        first = [move for move in moves if move.number > entry.based_on]
        done = " ".join(f"{move.sentence} ({move.by}, {move.at})" for move in first)
        return ConflictError(
            f"version {entry.version} of {self.name} was not made champion, because another move"
            f" came first: {done} Start again to judge against that champion"
        )

    def _follow(self) -> None:
        """Set the aliases until they are those of the last move: steps 2 and 3 above."""
        done: int | None = None
        while (head := self._log.head()).number != done:
            aliases = self._aliases()
            for alias, version in self._wanted(head, aliases).items():
                if version == aliases[alias]:
                    continue
                if version:
                    self._client.set_registered_model_alias(self.name, alias, str(version))
                else:
                    self._client.delete_registered_model_alias(self.name, alias)
            done = head.number

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
        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if not is_not_there(error):
                raise
            raise ValueError(
                f"there is no registered model {self.name!r}; train one of this name:"
                f" mlflow run . --env-manager local -e transfer -P register={self.name}"
            ) from None

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
        try:
            tags = self._client.get_registered_model(history_name(self.name)).tags
        except MlflowException as error:
            if not is_not_there(error):
                raise
        else:
            return {key: float(at) for key, at in tags.items() if key.startswith(_MARK)}
        try:
            self._client.create_registered_model(
                history_name(self.name),
                description=f"Append-only history of `{self.name}`: version n is entry n. Written"
                " by promote, rollback and training; do not edit it.",
            )
        except MlflowException as error:
            # Two processes may create it at once.
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        return {}


def _former_after(entry: Entry) -> tuple[int, ...]:
    """Former champions once another takes over from that of an entry."""
    former = (*entry.former, entry.champion) if entry.champion else entry.former
    return former[-MOST_FORMER:]


def _before(former: tuple[int, ...], version: int) -> tuple[int, ...]:
    """Former champions before a version was champion last; all if it never was."""
    if version not in former:
        return former
    return former[: len(former) - 1 - former[::-1].index(version)]
