"""A few training photos as the configured training sees them, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from landmark_ml.figures.dataset import augmented_batch
from landmark_ml.training.features import view_pixels
from landmark_ml.training.finetune_phase import load_augmented

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset
    from landmark_ml.inference.preprocessing import Preprocessing

SHOWN_PHOTOS = 6
SHOWN_VIEWS = 4


def draw_training_photos(
    dataset: Dataset, config: TrainConfig, preprocessing: Preprocessing
) -> Figure:
    """Show a few training photos, one a column, each as several epochs would see it.

    Fine-tuning draws its crops anew each epoch; a head learns on the same few views in all of them.
    """
    photos = dataset.landmarks("train")
    rng = np.random.default_rng(config.seed)
    chosen = [photos[i] for i in rng.permutation(len(photos))[:SHOWN_PHOTOS]]
    titles = [dataset.classes[photo.label] for photo in chosen]
    if config.finetune_epochs:
        augment, squares, aspects = load_augmented(chosen, config, preprocessing)
        generator = torch.Generator().manual_seed(config.seed)
        repeated = torch.arange(len(chosen)).repeat(SHOWN_VIEWS)
        crops = augment(squares[repeated], aspects[repeated], generator)
        drawn = crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return augmented_batch(drawn, titles * SHOWN_VIEWS)
    shown = min(config.views, SHOWN_VIEWS)
    pixels = [
        view_pixels(preprocessing.decode(photo.path), preprocessing, view, photo.sha256)
        for view in range(shown)
        for photo in chosen
    ]
    how = "not augmented" if config.views == 1 else f"in {config.views} views"
    return augmented_batch(np.stack(pixels), titles * shown, how)
