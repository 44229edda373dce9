"""Is one model better than another on the same photos? Paired bootstrap and McNemar's test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 10_000
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """Top-1 of a first model minus that of a second on the same photos.

    `only_first` and `only_second` count the photos that one gets right and the other wrong. `low`
    and `high` are the 95% percentile interval of `resampled`, float [resamples];
    `share_first_ahead` is the share of resamples that favour the first, a tie counting half.
    `mcnemar_p` is the exact two-sided p of no difference.
    """

    photos: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    share_first_ahead: float
    mcnemar_p: float
    resampled: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out and McNemar's p is below 0.05.

        The bootstrap alone is too easily convinced by few disagreements: 4 to 0 is enough for it.
        """
        return (self.low > 0 or self.high < 0) and self.mcnemar_p < _SIGNIFICANT


def compare_paired(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedDifference:
    """Difference of two models whose answers, bool [N], were right or wrong on the same N photos.

    Raises ValueError without photos or when the arrays do not fit.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(
            f"answers of shape {first.shape} and {second.shape} cannot be paired; give right or"
            " wrong of both models for each of the same photos, one or more"
        )
    photos = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    resampled = _bootstrap(only_first, only_second, photos, resamples, seed)
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    return PairedDifference(
        photos=photos,
        only_first=only_first,
        only_second=only_second,
        difference=(only_first - only_second) / photos,
        low=low,
        high=high,
        share_first_ahead=float((resampled > 0).mean() + (resampled == 0).mean() / 2),
        mcnemar_p=mcnemar_p(only_first, only_second),
        resampled=resampled,
    )


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two models are equally good, from the photos they disagree on.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions,
    1947; the binomial form, right for few disagreements too.
    """
    disagreements = only_first + only_second
    return float(binomtest(only_first, disagreements).pvalue) if disagreements else 1.0


def _bootstrap(
    only_first: int, only_second: int, photos: int, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Differences over photos drawn with replacement (Efron and Tibshirani, 1993).

    A photo adds 1, 0 or -1, so drawing how often each comes is drawing the photos themselves.
    """
    shares = np.array([only_first, only_second, photos - only_first - only_second]) / photos
    counts = np.random.default_rng(seed).multinomial(photos, shares, size=resamples)
    differences: NDArray[np.float64] = (counts[:, 0] - counts[:, 1]) / photos
    return differences
