"""Frozen stages stay as they were, and deeper layers learn more slowly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.freezing import freeze_early_stages
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.optim import finetune_state
from tests.tiny_networks import CPU, fit_on_pixels, small_config

CONFIG = small_config(finetune_learning_rate=0.01, layer_decay=0.9, ema_decay=0.5)


def small(backbone: str) -> LandmarkNetwork:
    return create_model(small_config(backbone), 3)


def train(model: LandmarkNetwork) -> None:
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    batches = TensorBatches(pixels, torch.arange(8) % 3, 4, torch.Generator().manual_seed(0))
    fit_on_pixels(model, batches, None, CONFIG)


def changed(model: LandmarkNetwork) -> set[str]:
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    train(model)
    after = model.network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "landmark_cnn"])
def test_the_last_stages_learn_and_the_first_keep_weights_and_statistics(backbone: str) -> None:
    torch.manual_seed(0)
    model = small(backbone)
    freeze_early_stages(model, 1)
    learnt = changed(model)
    assert any(name.startswith(("classifier", "fc")) for name in learnt)
    frozen = {name for name, p in model.network.named_parameters() if not p.requires_grad}
    learning = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert frozen
    assert learning <= learnt
    # Neither the weights nor the running statistics of what is frozen.
    folders = {name.rpartition(".")[0] for name in frozen}
    assert not {name for name in learnt if name.rpartition(".")[0] in folders}


def test_batch_norms_put_in_place_later_stay_in_evaluation_too() -> None:
    model = small("test_efficientnet")
    freeze_early_stages(model, 1)
    model.network.bn1 = nn.BatchNorm2d(8)
    model.train()
    assert not model.network.bn1.training
    assert model.network.training


def test_every_further_stage_lets_more_parameters_learn() -> None:
    counts = []
    for stages in (1, 2, 3):
        model = small("test_efficientnet")
        freeze_early_stages(model, stages)
        counts.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    assert counts == sorted(set(counts))


def test_with_nothing_frozen_the_whole_network_learns() -> None:
    torch.manual_seed(0)
    model = small("test_efficientnet")
    freeze_early_stages(model, 0)
    assert all(p.requires_grad for p in model.parameters())
    assert changed(model) == set(model.network.state_dict())


def test_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="unfreeze is 99 and the network has"):
        freeze_early_stages(small("test_efficientnet"), 99)


def rates(backbone: str, **changes: Any) -> dict[str, float]:
    """Learning rate of each parameter of the network."""
    config = small_config(backbone, layer_decay=0.5, warmup_epochs=0, **changes)
    model = create_model(config, 3)
    groups = finetune_state(model, config, CPU, 4).optimizer.param_groups
    by_parameter = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: by_parameter[id(p)] for name, p in model.network.named_parameters()}


def below(folder: str, by_name: dict[str, float]) -> dict[str, float]:
    """Rates of the layers in a folder, by their names in it."""
    return {k.removeprefix(folder): v for k, v in by_name.items() if k.startswith(folder)}


def test_layers_of_joined_networks_equally_far_from_the_output_share_a_rate() -> None:
    by_name = rates("test_efficientnet+test_efficientnet")
    first, second = below("networks.0.", by_name), below("networks.1.", by_name)
    assert first == second
    assert by_name["classifier.weight"] > max(first.values()) > min(first.values())


def test_layers_of_members_equally_far_from_the_output_share_a_rate() -> None:
    by_name = rates("test_resnet", members=2)
    first, second = below("members.0.", by_name), below("members.1.", by_name)
    assert first == second
    assert len(set(first.values())) > 2
