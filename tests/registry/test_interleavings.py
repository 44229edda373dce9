"""Processes that take turns at every call of the registry, and die at any of them.

Whatever the order, no move is lost or undone: the history holds what was promoted, nothing is
taken for a move by hand, and the aliases follow it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from landmark_ml.registry.history import AliasHistory, ConflictError, counted
from tests.registry.memory_registry import MemoryRegistry
from tests.registry.registered_models import Killed, aliases, crown, make_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from landmark_ml.registry.history import Entry

NAME = "interleaved"
SWITCH_CHANCE = 0.15


class Turns:
    """Lets one thread at a time make one call of the registry, in a random order."""

    def __init__(self, registry: MemoryRegistry, seed: int, kill_chance: float) -> None:
        self._registry = registry
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._kill_chance = kill_chance
        self._waiting: dict[str, tuple[threading.Event, list[bool]]] = {}
        self._changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            turn, killed = threading.Event(), [False]
            with self._changed:
                self._waiting[threading.current_thread().name] = turn, killed
                self._changed.notify()
            turn.wait()
            if killed[0]:
                raise Killed
            return method(*args, **kwargs)

        return call

    def run(self, *commands: Callable[[], object]) -> None:
        """Run commands side by side until all have ended."""
        alive, chosen = len(commands), ""

        def run_one(command: Callable[[], object]) -> None:
            nonlocal alive
            with contextlib.suppress(Killed, ConflictError):
                command()
            with self._changed:
                alive -= 1
                self._changed.notify()

        threads = [
            threading.Thread(target=run_one, args=(command,), name=str(number))
            for number, command in enumerate(commands)
        ]
        for thread in threads:
            thread.start()
        with self._changed:
            while True:
                self._changed.wait_for(lambda: len(self._waiting) == alive)
                if not alive:
                    break
                # Most often the same thread goes on, so that another one sleeps for long.
                if chosen not in self._waiting or self._random.random() < SWITCH_CHANCE:
                    chosen = self._random.choice(sorted(self._waiting))
                turn, killed = self._waiting.pop(chosen)
                killed[0] = self._random.random() < self._kill_chance
                turn.set()
        for thread in threads:
            thread.join()


def promote(registry: Any, version: int, since: Entry | None, won: list[int]) -> None:
    """Promote a version, judged under an entry or under the last one; `won` gets it when it won."""
    history = AliasHistory(NAME, registry)
    history.move("promote", version, since or history.reconcile()[0], "better")
    won.append(version)


@pytest.mark.parametrize("kill_chance", [0.0, 0.03])
def test_no_order_of_calls_loses_a_move_or_leaves_the_aliases_wrong(kill_chance: float) -> None:
    for seed in range(150):
        registry: Any = MemoryRegistry()
        make_versions(registry, NAME, 4)
        since = crown(AliasHistory(NAME, registry), 1, 2)
        turns: Any = Turns(registry, seed, kill_chance)
        won: list[int] = []

        turns.run(
            partial(promote, turns, 3, since, won),
            partial(promote, turns, 4, None, won),
            AliasHistory(NAME, turns).reconcile,
        )
        if not kill_chance:
            assert AliasHistory(NAME, registry).reconcile()[1] == [], seed
        history = AliasHistory(NAME, registry)
        head, _ = history.reconcile()
        moves = counted(history.entries())
        assert {entry.kind for entry in moves} <= {"register", "promote"}, seed
        assert set(won) <= {entry.version for entry in moves}, seed
        assert aliases(registry, NAME) == (head.champion, head.former[-1]), seed
        assert head == moves[-1], seed
