"""The two phases of training, a head on cached features and the whole network on pixels.

Both end in the same `fit`; they differ by the batches they hand it.
"""

from landmark_ml.phases.finetune_phase import create_augmentation, finetune, load_training_squares
from landmark_ml.phases.head_phase import ViewFeatures, train_head, view_features
from landmark_ml.phases.sides import ValidationLogits, num_outputs

__all__ = [
    "ValidationLogits",
    "ViewFeatures",
    "create_augmentation",
    "finetune",
    "load_training_squares",
    "num_outputs",
    "train_head",
    "view_features",
]
