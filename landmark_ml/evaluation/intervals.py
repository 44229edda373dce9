"""How far a metric could be off on so many photos: intervals by the bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
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

    Source: Efron, Bootstrap Methods: Another Look at the Jackknife, 1979. Resamples on which a
    statistic is undefined (NaN) do not count; one that no resample defines is left out.
    """
    intervals = {}
    for name, statistic in tqdm(statistics.items(), desc="intervals", unit="metric", delay=1):
        draws = np.random.default_rng(seed)
        found = np.array([statistic(draws.integers(rows, size=rows)) for _ in range(resamples)])
        defined = found[np.isfinite(found)]
        if len(defined):
            low, high = np.quantile(defined, (0.025, 0.975))
            intervals[name] = (float(low), float(high))
    return intervals
