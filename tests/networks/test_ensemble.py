"""Members learn as each would alone, and what is served is the mean of what they say."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.calibration import Calibration
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.ensemble import AveragedNetworks
from landmark_ml.networks.export import ArtifactInfo, export_network
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.loop import train_one_epoch
from landmark_ml.training.optim import finetune_state
from tests.tiny_networks import CPU, random_pixels, small_config

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 32
# Nothing is clipped: the gradients of all members are clipped as one.
CONFIG = small_config(finetune_learning_rate=1e-3, warmup_epochs=0, clip_grad=1e6)


def averaged(
    members: int = 2, *, mirror: bool = False, backbone: str = "test_resnet"
) -> LandmarkNetwork:
    torch.manual_seed(0)
    config = small_config(backbone, mirror=mirror, members=members)
    return create_model(config, 3).eval()


def alone(model: LandmarkNetwork, index: int) -> LandmarkNetwork:
    """A copy of one member, as a network of its own."""
    assert isinstance(model.network, AveragedNetworks)
    member = copy.deepcopy(model.network.members[index])
    return LandmarkNetwork(member, model.preprocessing, model.mirror).eval()


def random_batch(count: int) -> torch.Tensor:
    """Noise as batches hold it: uint8 [N, 3, SIDE, SIDE]."""
    return random_pixels(count, side=SIDE).permute(0, 3, 1, 2)


def gradients_of_a_step(model: LandmarkNetwork, mixup: float) -> dict[str, torch.Tensor]:
    np.random.seed(1)  # What timm's mixup draws from.
    config = replace(CONFIG, mixup=mixup)
    batch = TensorBatches(random_batch(4), torch.arange(4) % 3, 4)
    train_one_epoch(finetune_state(model, config, CPU, 1), batch, config)
    return {name: p.grad for name, p in model.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("mirror", [False, True])
def test_what_is_served_is_the_mean_of_the_members(mirror: bool) -> None:
    model = averaged(3, mirror=mirror)
    pixels = random_batch(2)
    each = torch.stack([alone(model, index)(pixels) for index in range(3)])
    assert torch.allclose(model(pixels), each.mean(dim=0), atol=1e-5)
    assert torch.allclose(model.classifier(model.features(pixels)), each.mean(dim=0), atol=1e-5)
    assert not torch.allclose(each[0], each[1], atol=1e-2)


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_a_member_learns_as_it_would_alone(mixup: float) -> None:
    together = averaged()
    members = [alone(together, index) for index in range(2)]
    found = gradients_of_a_step(together, mixup)
    assert len(found) == len(list(together.network.parameters()))
    for index, member in enumerate(members):
        for name, gradient in gradients_of_a_step(member, mixup).items():
            # The loss is the mean over members, which an optimiser of Adam's kind does not see.
            mine = 2 * found[f"members.{index}.{name}"]
            assert torch.allclose(mine, gradient, atol=1e-5), name


def test_reading_the_classifier_draws_no_random_numbers() -> None:
    model = averaged()
    before = torch.get_rng_state()
    assert model.classifier.out_features == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_in_training_each_member_answers_for_itself() -> None:
    model = averaged(2).train()
    assert model(random_batch(4)).shape == (4, 3, 2)


def test_one_graph_serves_them_all(tmp_path: Path) -> None:
    model = averaged(backbone="landmark_cnn")
    folder = export_network(
        model,
        Calibration(temperature=0.5, threshold=0.5, min_confidence=0.5),
        ArtifactInfo(("a", "b", "c"), run_id="abc"),
        Gazetteer({}),
        folder=tmp_path / "artifact",
        cache=None,
    )
    pixels = random_pixels(3, side=SIDE)
    with torch.no_grad():
        expected = (model(pixels.permute(0, 3, 1, 2)) / 0.5).softmax(dim=1).numpy()
    found = Runtime.load(folder / "model.onnx").run(pixels.numpy())
    assert np.allclose(found["probabilities"], expected, atol=1e-4)
    assert found["attention"].shape == (3, SIDE // 16, SIDE // 16)
