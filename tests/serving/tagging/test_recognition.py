"""Results in order, few items ahead, errors where their result would stand."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from serving.tagging.library import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 3


def test_results_keep_the_order_of_the_items() -> None:
    def late_if_even(item: int) -> int:
        time.sleep(0.02 * (item % 2 == 0))
        return -item

    assert list(in_order(late_if_even, range(20), THREADS, name="test")) == [-i for i in range(20)]
    assert list(in_order(late_if_even, [], THREADS, name="test")) == []


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    results = in_order(abs, items(), THREADS, name="test")
    for done in range(1, 50):
        next(results)
        assert taken <= done + THREADS


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = in_order(fail_at_three, range(100), THREADS, name="ends")
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("ends")]


def test_who_stops_early_leaves_no_thread() -> None:
    results = in_order(abs, iter(range(1000)), THREADS, name="early")
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("early")]
