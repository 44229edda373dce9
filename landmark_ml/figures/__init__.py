"""Figures of datasets and runs: every function returns a matplotlib `Figure`, nothing is shown."""

from landmark_ml.figures.channels import ChannelStatistics, channel_statistics, measure_channels
from landmark_ml.figures.confidence import rejection_histogram, reliability_diagram
from landmark_ml.figures.confusion import confusion_matrix
from landmark_ml.figures.dataset import FEW_PHOTOS, augmented_batch, class_counts, sample_grid
from landmark_ml.figures.results import Mistake, learning_curves, per_class_table, worst_mistakes
from landmark_ml.figures.sizes import image_sizes

__all__ = [
    "FEW_PHOTOS",
    "ChannelStatistics",
    "Mistake",
    "augmented_batch",
    "channel_statistics",
    "class_counts",
    "confusion_matrix",
    "image_sizes",
    "learning_curves",
    "measure_channels",
    "per_class_table",
    "rejection_histogram",
    "reliability_diagram",
    "sample_grid",
    "worst_mistakes",
]
