"""Commands read the end of a history, and that gives the same moves as all of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_ml.registry.history import (
    MOST_FORMER,
    NO_MOVE,
    AliasHistory,
    Entry,
    Kind,
    counted,
    history_name,
)
from tests.registry.memory_registry import MemoryRegistry
from tests.registry.registered_models import aliases, crown, make_versions

NAME = "long"


class Counting:
    """A registry that counts the versions it hands out."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self._registry = registry
        self.fetched = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def search_model_versions(self, *given: Any, **asked: Any) -> Any:
        found = self._registry.search_model_versions(*given, **asked)
        self.fetched += len(found)
        return found


def fetched_by_a_promotion(entries: int) -> int:
    """Versions that are fetched for a move and what comes before it, after so many moves."""
    registry: Any = MemoryRegistry()
    make_versions(registry, NAME, 3)
    crown(AliasHistory(NAME, registry), *[1 + number % 2 for number in range(entries)])
    counting: Any = Counting(registry)
    history = AliasHistory(NAME, counting)
    head, _ = history.reconcile()
    history.move("promote", 3, head, "better")
    return int(counting.fetched)


def test_what_a_promotion_fetches_does_not_grow_with_the_history() -> None:
    assert fetched_by_a_promotion(300) == fetched_by_a_promotion(60)


def test_an_entry_lists_as_many_former_champions_as_anybody_will_roll_back() -> None:
    registry: Any = MemoryRegistry()
    make_versions(registry, NAME, 2)
    history = AliasHistory(NAME, registry)
    head = crown(history, *[1 + number % 2 for number in range(MOST_FORMER + 20)])
    assert len(head.former) == MOST_FORMER
    assert aliases(registry, NAME) == (head.champion, head.former[-1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=70))
def test_the_end_of_a_history_gives_the_same_moves_as_all_of_it(
    written: list[tuple[bool, int]],
) -> None:
    """Writers move or refuse, and some of them are based on a move that is not the last."""
    registry: Any = MemoryRegistry()
    registry.create_registered_model(NAME)
    registry.create_registered_model(history_name(NAME))
    log = AliasHistory(NAME, registry)
    for is_move, behind in written:
        known = [0, *(move.number for move in counted(log.entries()))]
        base = known[max(0, len(known) - 1 - behind)]
        kind: Kind = "promote" if is_move else "refuse"
        log.append(Entry(kind, 1, 1, (), base, ""))
    everything = counted(log.entries())
    assert log.head() == (everything[-1] if everything else NO_MOVE)
    assert log.moves(0) == everything
    for move in everything:
        assert log.moves(move.number) == [
            later for later in everything if later.number >= move.number
        ]
