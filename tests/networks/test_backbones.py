"""The smallest backbone of each family works by its name alone, from creation to answer."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_model

from landmark_ml.config import TrainConfig
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.create import create_model, freeze_early_stages
from landmark_ml.networks.export import Calibration, export_network
from landmark_ml.training.loop import finetune_state
from tests.tiny_networks import CPU, random_pixels, score_of_probability

SMALLEST: dict[str, dict[str, Any]] = {
    "vit_small_patch14_dinov2": {"depth": 2},
    "vit_tiny_patch16_dinov3_qkvb": {"depth": 2},
    "vit_base_patch16_siglip_224.v2_webli": {"depth": 2},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "tf_efficientnet_lite0": {},
    "mobilenetv4_conv_small_035": {},
    "eva02_tiny_patch14_224": {"depth": 2},
    "resnet10t": {},
}
"""Backbones, and how they are built with few layers: tracing takes as long as there are."""


@pytest.mark.slow
@pytest.mark.parametrize("backbone", SMALLEST)
def test_a_backbone_is_created_exported_asked_and_started_from_again(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = functools.partial(timm.create_model, **SMALLEST[backbone])
    monkeypatch.setattr(timm, "create_model", shallow)
    config = TrainConfig(backbone=backbone, weights="random", epochs=0, finetune_epochs=1)
    torch.manual_seed(0)
    model = create_model(config, 3).eval()
    freeze_early_stages(model, 2)
    groups = finetune_state(model, config, CPU, 4).optimizer.param_groups
    assert len({group["lr"] for group in groups}) >= 2
    pixels = random_pixels(2, side=model.preprocessing.resolution)
    photos = pixels.permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model(photos)
    # Random weights may give logits of any size.
    temperature = float(logits.abs().max())
    calibration = Calibration(temperature, score_of_probability(0.5))
    exported = export_network(
        model,
        calibration,
        ("a", "b", "c"),
        "run",
        Gazetteer({}),
        folder=tmp_path / "artifact",
        cache=None,
    )
    found = Runtime(exported / "model.onnx").run(pixels.numpy())
    expected = (logits / temperature).softmax(dim=1).numpy()
    assert np.allclose(found["probabilities"], expected, atol=2e-3)
    assert found["attention"].ndim == 3
    # The same weights, from the file that a run logs.
    path = tmp_path / "weights.safetensors"
    save_model(model.network, str(path))
    again = create_model(TrainConfig(backbone=backbone, weights=str(path)), 3).eval()
    with torch.no_grad():
        assert torch.equal(again.features(photos), model.features(photos))
