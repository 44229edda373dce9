"""The colours of a dataset's photos: what normalisation constants come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter
from tqdm import tqdm

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.figures.style import BLUE, GREEN, INK, VERMILION, new_figure, style_axes
from landmark_ml.inference.photos import decode_photo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landmark_ml.data import Dataset

STATISTICS_SIDE = 96
"""Pixels of the short side at which colours are counted: plenty for a histogram, and quick."""
CHANNELS = (("red", VERMILION), ("green", GREEN), ("blue", BLUE))


@dataclass(frozen=True)
class ChannelStatistics:
    """Red, green and blue over the photos, each photo counting the same.

    `mean` and `std` are on the 0-1 scale; `histogram` is float64 [3, 256], the share of pixels at
    each uint8 value.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    photos: int
    histogram: NDArray[np.float64]


def measure_channels(
    dataset: Dataset, *, max_photos: int = 500, seed: int = 0
) -> ChannelStatistics:
    """Count the colours of up to `max_photos` random training photos of landmarks.

    Raises ValueError without such photos, and `PhotoError` when one cannot be read.
    """
    photos = [photo for photo in dataset.train if photo.label != NOT_A_LANDMARK]
    if not photos or max_photos < 1:
        msg = (
            f"cannot measure colours on {len(photos)} training photos with max_photos={max_photos}:"
            " give a dataset with landmarks and at least one photo"
        )
        raise ValueError(msg)
    picks = np.random.default_rng(seed).permutation(len(photos))[:max_photos]
    histogram = np.zeros((3, 256))
    for pick in tqdm(picks, desc="Counting colours", unit="photo", leave=False):
        photo = decode_photo(photos[pick].path, min_side=STATISTICS_SIDE)
        histogram += np.reshape(photo.histogram(), (3, 256)) / (photo.width * photo.height)
    histogram /= len(picks)
    values = np.arange(256) / 255
    mean = histogram @ values
    std = np.sqrt(np.maximum(histogram @ values**2 - mean**2, 0))
    red, green, blue = mean.tolist()
    return ChannelStatistics((red, green, blue), tuple(std.tolist()), len(picks), histogram)


def channel_statistics(
    dataset: Dataset,
    *,
    max_photos: int = 500,
    seed: int = 0,
    measured: ChannelStatistics | None = None,
) -> Figure:
    """Histogram of each colour channel with its mean and standard deviation.

    Hand over `measured` to draw numbers already at hand instead of decoding photos again.
    """
    statistics = measured or measure_channels(dataset, max_photos=max_photos, seed=seed)
    mean = " / ".join(f"{value:.3f}" for value in statistics.mean)
    std = " / ".join(f"{value:.3f}" for value in statistics.std)
    figure = new_figure(
        f"Colour of {dataset.name}: mean {mean}, std {std} (n = {statistics.photos:,})",
        height=3.2,
        caption="Training photos of landmarks, each counting the same. Dark line: mean; "
        "band: one standard deviation to either side.",
    )
    panels = figure.subplots(1, 3, sharey=True)
    moments = list(zip(statistics.mean, statistics.std, strict=True))
    for index, (name, color) in enumerate(CHANNELS):
        axes = panels[index]
        _draw_channel(axes, color, statistics.histogram[index], moments[index])
        style_axes(
            axes, title=name, xlabel="value (0 to 1)", ylabel="" if index else "share of pixels"
        )
        # The spike of pure white (skies, white grounds) would flatten everything else.
        axes.set_ylim(0, 1.15 * statistics.histogram[:, 2:-2].max())
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return figure


def _draw_channel(
    axes: Axes, color: str, shares: NDArray[np.float64], moments: tuple[float, float]
) -> None:
    mean, std = moments
    values = np.arange(256) / 255
    axes.fill_between(values, shares, color=color, alpha=0.75, linewidth=0, step="mid")
    axes.axvspan(mean - std, mean + std, color=INK, alpha=0.06, linewidth=0)
    axes.axvline(mean, color=INK, linewidth=1.2)
    axes.set_xlim(0, 1)
