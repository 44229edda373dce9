"""How far a metric could be off on so many photos: intervals by the bootstrap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import bootstrap
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Rows = NDArray[np.intp]
    Statistic = Callable[[Rows], float]


def bootstrap_intervals(
    statistics: Mapping[str, Statistic], rows: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95% percentile intervals of statistics, each a function of the chosen rows of `rows`.

    Source: Efron, Bootstrap Methods: Another Look at the Jackknife, 1979. A statistic that no
    resample defines is left out.
    """
    intervals = {}
    everything = (np.arange(rows),)
    for name, statistic in tqdm(statistics.items(), desc="intervals", unit="metric", delay=1):
        found = bootstrap(
            everything,
            statistic,
            n_resamples=resamples,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            intervals[name] = (float(found.low), float(found.high))
    return intervals
