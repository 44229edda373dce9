"""What a command reads of a history is its end, and that says the same as all of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_ml.registry.champion import MOST_FORMER, Succession
from landmark_ml.registry.entry import Entry, Kind, counted
from landmark_ml.registry.history import History
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
    crown(Succession(NAME, registry), *[1 + number % 2 for number in range(entries)])
    counting: Any = Counting(registry)
    succession = Succession(NAME, counting)
    head, _ = succession.settle()
    succession.move("promote", 3, head, "better")
    return int(counting.fetched)


def test_what_a_promotion_fetches_does_not_grow_with_the_history() -> None:
    assert fetched_by_a_promotion(300) == fetched_by_a_promotion(60)


def test_as_many_champions_are_remembered_as_anybody_will_roll_back() -> None:
    registry: Any = MemoryRegistry()
    make_versions(registry, NAME, 2)
    succession = Succession(NAME, registry)
    head = crown(succession, *[1 + number % 2 for number in range(MOST_FORMER + 20)])
    assert len(head.former) == MOST_FORMER
    assert aliases(registry, NAME) == (head.champion, head.former[-1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), max_size=70))
def test_the_end_of_a_history_says_the_same_as_all_of_it(
    written: list[tuple[bool, int, bool]],
) -> None:
    """Writers move or record, some of them based on what is past; aliases follow late."""
    registry: Any = MemoryRegistry()
    registry.create_registered_model(NAME)
    history = History(registry, NAME)
    history.open()
    for moves, behind, follows in written:
        known = [0, *(move.number for move in counted(history.entries()))]
        base = known[max(0, len(known) - 1 - behind)]
        kind: Kind = "promote" if moves else "refuse"
        history.append(Entry(kind, 1, 1, (), base, "", ticket=str(len(history.entries()))))
        last = counted(history.entries())
        if follows and last:
            history.mark_applied(last[-1])
    everything = counted(history.entries())
    assert history.moves()[-1:] == everything[-1:]
    for move in everything:
        after = [later for later in everything if later.number >= move.number]
        assert history.moves(move.number)[-len(after) :] == after
