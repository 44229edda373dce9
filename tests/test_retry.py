"""A call that fails for a moment is tried again, any other failure is raised at once."""

from __future__ import annotations

import pytest

from landmark_ml.retry import backoff, retry


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    """Calls made so far, and a call that fails so many times."""
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, call


@pytest.mark.parametrize(("times", "tried"), [(0, 1), (2, 3)])
def test_a_temporary_failure_is_tried_again(times: int, tried: int) -> None:
    calls, call = failing(times, ConnectionError())
    assert retry(call, lambda _: True, [0.0] * 2) == "done"  # type: ignore[arg-type]
    assert len(calls) == tried


def test_the_last_failure_is_raised() -> None:
    calls, call = failing(9, ConnectionError("busy"))
    with pytest.raises(ConnectionError, match="busy"):
        retry(call, lambda _: True, [0.0] * 2)  # type: ignore[arg-type]
    assert len(calls) == 3


def test_another_failure_is_raised_at_once() -> None:
    calls, call = failing(9, KeyError("name"))
    with pytest.raises(KeyError):
        retry(call, lambda error: isinstance(error, OSError), [0.0])  # type: ignore[arg-type]
    assert len(calls) == 1


def test_pauses_double_up_to_the_longest_and_end() -> None:
    pauses = list(backoff(1.0, 3.0, tries=5))
    assert len(pauses) == 4
    for pause, about in zip(pauses, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert about / 2 <= pause <= about * 1.5
    assert list(backoff(1.0, 3.0, seconds=-1.0)) == []
