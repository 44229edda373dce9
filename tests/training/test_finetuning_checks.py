"""What fine-tuning cannot do is said before anything is decoded or trained."""

from __future__ import annotations

from typing import Any

import pytest

from landmark_ml.config import TrainConfig
from landmark_ml.networks.create import LandmarkNetwork, create_model, model_options
from landmark_ml.training.finetuning_checks import check_finetuning


def checked(**values: Any) -> LandmarkNetwork:
    settings: dict[str, Any] = {
        "weights": "random",
        "feature_stages": 0,
        "pooling": "average",
        "finetune_epochs": 1,
        "resolution": 64,
    }
    config = TrainConfig(**(settings | values))
    model = create_model(model_options(config, 3))
    check_finetuning(model, config)
    return model


def test_crops_the_network_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"photos of 130 px .* give another train_resolution"):
        checked(backbone="landmark_cnn", train_resolution=130)
    with pytest.raises(ValueError, match=r"'vit_tiny_patch16_224' cannot take photos of 192 px"):
        checked(backbone="vit_tiny_patch16_224", resolution=0, train_resolution=192)


def test_crops_that_begin_larger_than_they_end_are_refused() -> None:
    with pytest.raises(ValueError, match=r"start_resolution is 512 .* crops grow to 160"):
        checked(backbone="test_efficientnet", resolution=0, start_resolution=512)


def test_more_stages_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unfreeze is 50 and the network has"):
        checked(backbone="test_efficientnet", unfreeze=50)


def test_what_can_be_trained_is_left_as_it_was() -> None:
    model = checked(backbone="test_efficientnet", unfreeze=1, start_resolution=32)
    assert all(parameter.requires_grad for parameter in model.parameters())
