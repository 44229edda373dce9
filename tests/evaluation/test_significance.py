"""Intervals of a share, and two models on the same photos: the difference and how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from landmark_ml.evaluation.significance import (
    compare_shares,
    differences_by_class,
    landmark_wins,
    mcnemar_p,
    wilson_interval,
)


def answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, ...]:
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    return first, second


@pytest.mark.parametrize(("won", "clear"), [(4, False), (5, False), (6, True)])
def test_few_disagreements_are_no_evidence(won: int, clear: bool) -> None:
    assert (mcnemar_p(*answers(400, won, 0, 94)) < 0.05) == clear


def test_equal_answers_favour_neither() -> None:
    first, _ = answers(8, 0, 0, 2)
    assert mcnemar_p(first, first) == 1.0


@pytest.mark.parametrize(("only_first", "only_second"), [(15, 5), (5, 15), (1, 0), (6, 6), (0, 9)])
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    total, few = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(total, count) for count in range(few + 1)) / 2**total
    p = mcnemar_p(*answers(3, only_first, only_second, 2))
    assert p == pytest.approx(min(1.0, 2 * tail))


def test_wins_are_counted_landmark_by_landmark() -> None:
    first, second = np.array([True, True, False, True]), np.array([True, False, True, False])
    table = differences_by_class(["Petra", "Petra", "Petra", "Atomium"], first, second)
    assert table.to_dict(orient="records") == [
        {"landmark": "Atomium", "photos": 1, "only_first": 1, "only_second": 0},
        {"landmark": "Petra", "photos": 3, "only_first": 1, "only_second": 1},
    ]


def test_the_landmarks_that_differ_most_stand_from_wins_to_losses() -> None:
    table = pd.DataFrame(
        {"landmark": list("abcde"), "photos": 9, "only_first": [0, 3, 1, 0, 1], "only_second": 0}
    )
    table["only_second"] = [0, 0, 1, 2, 0]
    shown = landmark_wins(table, "#1", "#2", most=3)
    assert shown.to_numpy().tolist() == [["b", 9, 3, 0], ["c", 9, 1, 1], ["d", 9, 0, 2]]
    assert list(shown.columns) == ["landmark", "photos", "only #1", "only #2"]
    assert landmark_wins(table[:1], "#1", "#2").empty


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (470, 522, 0.8717, 0.9232),
    ],
)
def test_wilson_interval_of_known_shares(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [1, 10, 25, 27, 100, 183, 522])
def test_the_interval_holds_the_share_it_is_of(count: int) -> None:
    for right in (0, 1, count):
        low, high = wilson_interval(right, count)
        assert 0 <= low <= right / count <= high <= 1


@pytest.mark.parametrize(
    ("only_first", "only_second", "photos", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, Recommended tests and confidence intervals for paired
        # binomial proportions, Statistics in Medicine 2014.
        (1, 7, 21, -0.517, -0.026),
        # Without a disagreement the ends are -z² / (n + z²) and its opposite.
        (0, 0, 100, -0.0370, 0.0370),
        (10, 0, 10, 0.4449, 1.0),
        (0, 3, 3, -1.0, 0.1230),
    ],
)
def test_tango_interval_of_known_differences(
    only_first: int, only_second: int, photos: int, low: float, high: float
) -> None:
    both = photos - only_first - only_second
    found = compare_shares(*answers(both, only_first, only_second, 0))
    assert found == pytest.approx(((only_first - only_second) / photos, low, high), abs=5e-4)
    mirrored = compare_shares(*answers(both, only_second, only_first, 0))
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_a_smaller_alpha_widens_the_interval() -> None:
    wide, narrow = (compare_shares(*answers(70, 15, 5, 10), alpha=a) for a in (0.001, 0.05))
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


def test_each_end_of_the_interval_errs_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(200, (0.86, 0.08, 0.03, 0.03), size=1000)
    found = [compare_shares(*answers(*row), alpha=0.05) for row in drawn]
    assert np.mean([interval.low > 0.05 for interval in found]) == pytest.approx(0.05, abs=0.02)
    assert np.mean([interval.high < 0.05 for interval in found]) == pytest.approx(0.05, abs=0.02)
