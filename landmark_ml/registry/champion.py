"""The aliases champion and previous: moved by whoever is first, repaired by whoever comes next.

MLflow sets an alias unconditionally, one at a time, so two processes that promote at once could
leave `champion` and `previous` of different promotions, or undo each other. Here the history
decides (see `history`), and the aliases only follow it:

1. A move is appended to the history, based on the move its evidence was gathered under. If
   another move came between, it does not count and `OvertakenError` is raised: nothing has changed.
2. The aliases are set to what the last move that counts says, `previous` first, so that at no
   moment `champion` names a version that is neither the old nor the new one. The entry is then
   marked as applied.
3. The history is read again. If it has grown, this process may have overwritten the aliases of a
   later move with those of its own, and sets them once more. So whoever writes last has read the
   last move.

A process killed after 1 leaves a move that is not marked as applied: the next command finishes it.
One killed between 2 and 3, after it overwrote a later move, leaves its own mark on the history,
which every process sets before it reads what it will write and takes away at the end: while there
is such a mark, aliases that differ from the history are taken for unfinished work and set again.
Without one they were moved by something else, such as a person in the MLflow UI: that is taken
over into the history, aloud, not reverted.

Marks are read before the aliases are: a process whose late write is seen set its mark before the
later move was appended, and takes it away only after it has mended what it wrote. Others clear a
mark only when it is ten minutes old and all is in order; clocks matter nowhere else. Expected of
the registry: unique version numbers, and reads that see what was written before them.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow.tracking import MlflowClient

from landmark_ml.registry.entry import Entry, signed
from landmark_ml.registry.history import History
from landmark_ml.registry.registered import CHALLENGER, CHAMPION, PREVIOUS, RegisteredAliases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landmark_ml.registry.entry import Kind
    from landmark_ml.registry.registered import Standing

MOST_FORMER = 100
"""How many rollbacks in a row are possible: an entry names so many champions before its own."""

_NOBODY = Entry("observe", 0, 0, (), 0, "", applied=True)


class OvertakenError(ValueError):
    """Another move came first; nothing was changed."""


class Succession:
    """Who is champion of a registered model; every change of it goes through here."""

    def __init__(self, name: str, client: MlflowClient | None = None) -> None:
        self.name = name
        client = client or MlflowClient()
        self._history = History(client, name)
        self._registered = RegisteredAliases(client, name)

    def entries(self) -> list[Entry]:
        """The whole history, the oldest entry first."""
        return self._history.entries()

    def last_former(self, head: Entry) -> int:
        """The champion before that of an entry which was not deleted since, 0 for none."""
        return self._registered.last_held(head.former)

    def settle(self) -> tuple[Entry, list[str]]:
        """The move that counts last, once the aliases follow it, and what was repaired for that.

        With no move yet the entry has number 0 and champion 0. Raises ValueError when the
        registered model does not exist.
        """
        self._registered.standing(_NOBODY)
        if self._history.is_empty():
            self._history.open()
        notes: list[str] = []
        while True:
            head, marks = self._head(), self._registered.marks()
            standing = self._registered.standing(head)
            if not standing.newest:
                return replace(head, champion=0, former=()), notes
            expected, actual = standing.expected, standing.actual
            gone = bool(head.champion) and CHAMPION not in expected
            if expected == actual and head.applied and not gone:
                self._registered.forget(marks)
                return head, notes
            outside = actual.get(CHAMPION) != expected.get(CHAMPION)
            if gone or (head.applied and outside and not marks):
                notes += self._take_over(head, standing)
            else:
                notes += self._finish(head)

    def move(self, kind: Kind, version: int, since: Entry, reason: str, receipt: str = "") -> Entry:
        """Make a version champion if nobody has moved the champion since that entry.

        kind `rollback`: the version leaves the former champions, and those after it with it.
        Raises OvertakenError when somebody has.
        """
        former = _after(since) if kind != "rollback" else _before_rollback(since, version)
        entry = Entry(kind, version, version, former, since.number, reason, receipt)
        # A person may have moved the alias while the evidence was gathered.
        head, _ = self.settle()
        if head.number != since.number:
            raise self._overtaken(entry)
        with self._mark():
            written = self._append(entry)
            self._follow()
        return written

    def record(self, kind: Kind, version: int, since: Entry, reason: str, receipt: str) -> Entry:
        """Write down what changes nothing."""
        entry = Entry(kind, version, since.champion, since.former, since.number, reason, receipt)
        return self._history.append(signed(entry))

    def challenge(self, version: int) -> None:
        """Name the version that waits for a promotion."""
        self._registered.point(CHALLENGER, version)

    def _append(self, entry: Entry) -> Entry:
        written = self._history.append(signed(entry))
        if not any(move.ticket == written.ticket for move in self._history.moves(entry.based_on)):
            raise self._overtaken(entry)
        return written

    def _overtaken(self, entry: Entry) -> OvertakenError:
        moves = self._history.moves(entry.based_on)
        after = [move for move in moves if move.number > entry.based_on]
        done = " ".join(f"{move.sentence} ({move.by}, {move.at})" for move in after)
        return OvertakenError(
            f"version {entry.version} of {self.name} was not made champion, because another move"
            f" came first: {done} Start again to judge against that champion"
        )

    def _follow(self) -> None:
        """Set the aliases until they are those of the last move: steps 2 and 3 above."""
        done = 0
        while (head := self._head()).number != done:
            self._set_aliases(head)
            if not head.applied:
                self._history.mark_applied(head)
            done = head.number

    def _set_aliases(self, head: Entry) -> None:
        standing = self._registered.standing(head)
        expected, actual = standing.expected, standing.actual
        for alias in (PREVIOUS, CHAMPION):
            if expected.get(alias) != actual.get(alias):
                self._registered.point(alias, expected.get(alias))
        if standing.aliases.get(CHALLENGER) == head.champion:
            self._registered.point(CHALLENGER, None)

    def _finish(self, head: Entry) -> list[str]:
        with self._mark():
            self._follow()
        return [
            f"the aliases of {self.name} were half-way and follow entry {head.number} of its"
            f" history again: {head.sentence}"
        ]

    def _take_over(self, head: Entry, standing: Standing) -> list[str]:
        """Write down that something else moved the champion, unless a move comes first."""
        actual = standing.actual
        champion = actual.get(CHAMPION, 0)
        former = _after(head)
        if not head.number and PREVIOUS in actual:
            former = (actual[PREVIOUS],)
        reason = "" if head.number else "The history begins here."
        about = champion or standing.newest
        entry = Entry("observe", about, champion, _before(former, champion), head.number, reason)
        with contextlib.suppress(OvertakenError), self._mark():
            written = self._append(entry)
            self._follow()
            return [f"{self.name}: {written.sentence}"]
        return []

    @contextlib.contextmanager
    def _mark(self) -> Iterator[None]:
        """Say that aliases are being set; when that is cut short the mark stays."""
        key = self._registered.mark()
        try:
            yield
        except OvertakenError:
            self._registered.unmark(key)
            raise
        self._registered.unmark(key)

    def _head(self) -> Entry:
        moves = self._history.moves()
        return moves[-1] if moves else _NOBODY


def _after(entry: Entry) -> tuple[int, ...]:
    """Former champions once another takes over; those of long ago are forgotten."""
    former = (*entry.former, entry.champion) if entry.champion else entry.former
    return former[-MOST_FORMER:]


def _before_rollback(entry: Entry, version: int) -> tuple[int, ...]:
    """Former champions of the version that is gone back to, without the one that was no good."""
    former = _before(entry.former, version)
    return tuple(number for number in former if number != entry.champion)


def _before(former: tuple[int, ...], version: int) -> tuple[int, ...]:
    """Former champions before a version was it last; all of them when it never was."""
    since = former[::-1].index(version) + 1 if version in former else 0
    return former[: len(former) - since]
