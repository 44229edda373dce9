"""Figures of what a confidence is worth: calibration, and rejection of other photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from landmark_ml.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE_BLUE,
    VERMILION,
    add_legend,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

CALIBRATED = 0.005
"""A smaller gap between mean confidence and accuracy counts as calibrated."""
FEW_ANSWERS = 10


def reliability_diagram(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    *,
    ece: float,
    num_bins: int = 15,
) -> Figure:
    """Draw accuracy against confidence in equal-width bins, with the photos a bin below.

    `confidence` float [N] in 0 to 1, `correct` bool [N], as in Guo et al., "On Calibration of
    Modern Neural Networks" (2017).
    """
    right = correct.astype(float)
    gap = float(confidence.mean() - right.mean())
    title = "Calibrated on average"
    if abs(gap) >= CALIBRATED:
        title = f"Too {'confident' if gap > 0 else 'cautious'} by {abs(gap):.3f}"
    figure = new_figure(
        f"{title} (ECE {ece:.3f}, n = {confidence.size:,})",
        width=6.5,
        height=6.0,
        caption=f"Mean confidence {confidence.mean():.3f}, accuracy {right.mean():.3f}. "
        f"Pale bars stand on fewer than {FEW_ANSWERS} photos.",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled, width = np.flatnonzero(counts), 1 / num_bins
    accuracy = np.bincount(bins, right, num_bins)[filled] / counts[filled]
    mean = np.bincount(bins, confidence, num_bins)[filled] / counts[filled]
    for few, shade, label in ((False, BLUE, "accuracy"), (True, PALE_BLUE, "")):
        some = (counts[filled] < FEW_ANSWERS) == few
        left, height = filled[some] * width, accuracy[some]
        above.bar(left, height, width=0.9 * width, align="edge", color=shade, label=label)
    dash = {"color": VERMILION, "markersize": 14, "markeredgewidth": 2}
    above.plot(mean, mean, "_", label="mean confidence", **dash)
    line = {"color": GREY, "linewidth": 0.9, "linestyle": ":"}
    above.plot([0, 1], [0, 1], label="perfectly calibrated", **line)
    above.set_ylim(0, 1.02)
    add_legend(above)
    below.bar((np.arange(num_bins) + 0.5) * width, counts, width=0.9 * width, color=GREY)
    style_axes(above, ylabel="share of answers right")
    style_axes(below, xlabel="confidence", ylabel="photos")
    above.tick_params(labelbottom=False)
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return figure


def rejection_histogram(
    landmark_scores: NDArray[np.float64],
    distractor_scores: NDArray[np.float64],
    threshold: float,
    others: str = "no landmark",
) -> Figure:
    """Draw the scores of photos with and without a landmark; those at the threshold are kept.

    Float arrays [N] and [M], neither empty, on the scale of `threshold`; others: what the latter
    show.
    """
    groups = {"landmark": landmark_scores, others: distractor_scores}
    kept, rejected = np.mean(landmark_scores >= threshold), np.mean(distractor_scores < threshold)
    figure = new_figure(
        f"At {threshold:.3g}, {kept:.1%} of {len(landmark_scores):,} landmark photos are kept and "
        f"{rejected:.1%} of {len(distractor_scores):,} others rejected"
    )
    axes = figure.add_subplot()
    everything = np.concatenate([*groups.values(), [threshold]])
    edges = np.histogram_bin_edges(everything, bins=40).tolist()
    for (name, scores), color in zip(groups.items(), (BLUE, ORANGE), strict=True):
        weights = np.full(scores.size, 100 / scores.size)
        label = f"{name} (n = {scores.size:,})"
        axes.hist(scores, edges, weights=weights, color=color, alpha=0.65, label=label)
    axes.axvline(threshold, color=INK, linewidth=1.2, label=f"threshold {threshold:.3g}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    style_axes(axes, xlabel="score", ylabel="% of its photos (log scale)")
    add_legend(axes)
    return figure
