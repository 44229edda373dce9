"""How sure a measured number is: the interval of a share, and two models on the same photos."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm


# Thousands of landmarks share a few counts.
@functools.cache
def wilson_interval(right: int, photos: int) -> tuple[float, float]:
    """95% interval of the share `right` of `photos` (Wilson, 1927); also right near 0 and 1.

    Raises ValueError without photos.
    """
    found = binomtest(right, photos).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


class Interval(NamedTuple):
    """A measured value between the ends of its interval."""

    value: float
    low: float
    high: float


def compare_shares(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, alpha: float = 0.025
) -> Interval:
    """Share of photos of which something holds for a first model minus that for a second.

    first, second: bool [N], on the same N photos. Each end errs with probability alpha. It stays
    honest where the two hardly differ: N photos on which they agree leave `z² / (N + z²)` open.
    Source: Tango, Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design, Statistics in Medicine 1998.
    """
    photos = len(first)
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    z = float(norm.isf(alpha))

    def score(difference: float) -> float:
        """How many standard errors the measured difference lies above a supposed one."""
        # The likeliest share of photos that only the second model has, if that is the difference.
        half = (won + lost - (2 * photos - won + lost) * difference) / (4 * photos)
        only_second = half + math.sqrt(
            max(0.0, half**2 + lost * difference * (1 - difference) / (2 * photos))
        )
        variance = photos * (2 * only_second + difference * (1 - difference))
        return (won - lost - photos * difference) / math.sqrt(max(variance, 1e-12))

    value = (won - lost) / photos
    low = brentq(lambda difference: score(difference) - z, -1 + 1e-12, value) if value > -1 else -1
    high = brentq(lambda difference: score(difference) + z, value, 1 - 1e-12) if value < 1 else 1
    return Interval(value, float(low), float(high))


def mcnemar_p(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Two-sided p of no difference between two models, by whether they were right, bool [N].

    Source: McNemar, Note on the sampling error of the difference between correlated proportions,
    1947, in its exact binomial form.
    """
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def differences_by_class(
    landmarks: Sequence[str], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> pd.DataFrame:
    """Columns landmark, photos, only_first, only_second: how many photos only one model got right.

    landmarks: what each of the N photos shows.
    """
    photos = pd.DataFrame(
        {
            "landmark": landmarks,
            "photos": 1,
            "only_first": (first & ~second).astype(int),
            "only_second": (second & ~first).astype(int),
        }
    )
    return photos.groupby("landmark", as_index=False).sum()


def landmark_wins(table: pd.DataFrame, first: str, second: str, most: int = 40) -> pd.DataFrame:
    """Of `differences_by_class`, the landmarks on which two models differ most, as a page shows it.

    The wins of the first stand on top. Landmarks on which both answer alike are left out.
    """
    differing = table["only_first"] + table["only_second"]
    shown = table.loc[differing[differing > 0].nlargest(most).index]
    order = (shown["only_second"] - shown["only_first"]).sort_values(kind="stable").index
    names = {"only_first": f"only {first}", "only_second": f"only {second}"}
    return shown.loc[order].rename(columns=names)
