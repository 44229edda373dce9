"""What fine-tuning would fail at, said before photos are decoded and a head is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landmark_ml.networks.create import check_takes
from landmark_ml.networks.freezing import early_stages

if TYPE_CHECKING:
    from landmark_ml.config import TrainConfig
    from landmark_ml.networks.create import LandmarkNetwork


def check_finetuning(model: LandmarkNetwork, config: TrainConfig) -> None:
    """Refuse crops that the network cannot take, and more stages than it has.

    Raises ValueError, which names the parameter to change.
    """
    if not config.finetune_epochs:
        return
    full = config.train_resolution or model.preprocessing.resolution
    if config.start_resolution > full:
        raise ValueError(
            f"start_resolution is {config.start_resolution} and the training crops grow to {full};"
            " give at most that, or 0"
        )
    for name, side in (("start_resolution", config.start_resolution), ("train_resolution", full)):
        if side:
            check_takes(model, config.backbone, side, f"another {name}")
    early_stages(model, config.unfreeze)
