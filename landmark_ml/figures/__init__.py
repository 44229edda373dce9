"""Figures of datasets and runs: every function returns a matplotlib `Figure`, nothing is shown."""

from landmark_ml.figures.answers import Answer, answer_gallery
from landmark_ml.figures.channels import ChannelStatistics, channel_statistics, measure_channels
from landmark_ml.figures.confidence import rejection_histogram, reliability_diagram
from landmark_ml.figures.confusion import confusion_matrix
from landmark_ml.figures.dataset import FEW_PHOTOS, augmented_batch, class_counts, sample_grid
from landmark_ml.figures.evaluation import location_error, risk_coverage_curve, robustness_bars
from landmark_ml.figures.pairs import bootstrap_difference, class_wins
from landmark_ml.figures.results import (
    PHASE_EPOCH,
    Mistake,
    learning_curves,
    per_class_table,
    worst_mistakes,
)
from landmark_ml.figures.sizes import image_sizes
from landmark_ml.figures.tradeoffs import accuracy_tradeoffs, overlaid_curves, pareto_front

__all__ = [
    "FEW_PHOTOS",
    "PHASE_EPOCH",
    "Answer",
    "ChannelStatistics",
    "Mistake",
    "accuracy_tradeoffs",
    "answer_gallery",
    "augmented_batch",
    "bootstrap_difference",
    "channel_statistics",
    "class_counts",
    "class_wins",
    "confusion_matrix",
    "image_sizes",
    "learning_curves",
    "location_error",
    "measure_channels",
    "overlaid_curves",
    "pareto_front",
    "per_class_table",
    "rejection_histogram",
    "reliability_diagram",
    "risk_coverage_curve",
    "robustness_bars",
    "sample_grid",
    "worst_mistakes",
]
