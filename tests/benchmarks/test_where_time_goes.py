"""The seconds of a training by part: every part exists, and no second counts twice."""

from __future__ import annotations

import pkgutil
from types import SimpleNamespace

import pytest

from benchmarks import where_time_goes
from benchmarks.where_time_goes import PARTS, Clock


@pytest.mark.parametrize("place", PARTS.values())
def test_a_part_is_a_function_of_this_code(place: str) -> None:
    assert callable(pkgutil.resolve_name(place))


def test_time_within_an_inner_part_is_not_the_outer_ones_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    def outer() -> None:
        work(1)
        clock.timed("inner", work)(5)
        work(2)

    clocks = SimpleNamespace(perf_counter=lambda: now, process_time=lambda: 2 * now)
    monkeypatch.setattr(where_time_goes, "time", clocks)
    clock = Clock()
    clock.timed("outer", outer)()
    work(0.5)
    clock.charge()
    rest = {"the rest: MLflow, small steps": [0.5, 1]}
    assert clock.spent == {**rest, "outer": [3, 6], "inner": [5, 10]}
