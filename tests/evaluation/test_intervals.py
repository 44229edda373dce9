"""Intervals hold the statistic they are of, and shrink with more photos."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from landmark_ml.evaluation.intervals import bootstrap_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_the_interval_of_a_share_is_that_of_theory() -> None:
    right = np.arange(400) < 300
    found = bootstrap_intervals({"top1": lambda rows: float(right[rows].mean())}, 400)
    low, high = found["top1"]
    margin = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - margin, 0.75 + margin), abs=0.01)
    again = bootstrap_intervals({"top1": lambda rows: float(right[rows].mean())}, 400)
    assert again == found


def test_what_is_not_defined_has_no_interval() -> None:
    assert bootstrap_intervals({"nothing": lambda _: float("nan")}, 5, resamples=10) == {}


def test_resamples_that_leave_a_statistic_undefined_do_not_count() -> None:
    def seen_once(rows: NDArray[np.intp]) -> float:
        return float(rows.mean()) if 0 in rows else math.nan

    low, high = bootstrap_intervals({"mean": seen_once}, 3, resamples=200)["mean"]
    assert 0 <= low < 1 < high < 2
