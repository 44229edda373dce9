"""Learning rates of a training: by layer, and over its steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from timm.optim import Muon

from landmark_ml.networks.create import ModelOptions, create_model
from landmark_ml.training.exact_muon import ExactMuon
from landmark_ml.training.optim import FitOptions, create_trainer
from tests.tiny_networks import tiny_model

if TYPE_CHECKING:
    from torch import nn

OPTIONS = FitOptions(name="test", num_classes=3, epochs=6, learning_rate=0.05)


def rates_by_parameter(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: rates[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
def test_layer_decay_gives_smaller_rates_to_earlier_layers(warmup_epochs: float) -> None:
    model = create_model(ModelOptions("test_efficientnet", 3, "random", 32))
    options = replace(OPTIONS, layer_decay=0.5, warmup_epochs=warmup_epochs, learning_rate=0.1)
    trainer = create_trainer(model, options, 4)
    for step in range(2):
        trainer.scheduler.step_update(step)
        rates = rates_by_parameter(model, trainer.optimizer)
        stem, head = rates["network.conv_stem.weight"], rates["network.classifier.weight"]
        blocks = [rate for name, rate in rates.items() if ".blocks." in name]
        assert stem < min(blocks) < max(blocks) < head
        assert min(blocks) == pytest.approx(stem * 2)


def test_without_layer_decay_all_layers_share_the_rate() -> None:
    model = tiny_model()
    trainer = create_trainer(model, replace(OPTIONS, warmup_epochs=0), 4)
    assert set(rates_by_parameter(model, trainer.optimizer).values()) == {0.05}


def test_only_weights_decay() -> None:
    trainer = create_trainer(tiny_model(), replace(OPTIONS, weight_decay=0.3), 4)
    decays = {
        p.ndim: g["weight_decay"] for g in trainer.optimizer.param_groups for p in g["params"]
    }
    assert decays == {4: 0.3, 2: 0.3, 1: 0.0}


def scheduled_rates(options: FitOptions, steps_per_epoch: int) -> list[float]:
    trainer = create_trainer(tiny_model(), options, steps_per_epoch)
    rates = [trainer.optimizer.param_groups[0]["lr"]]
    for step in range(1, options.epochs * steps_per_epoch + 1):
        trainer.scheduler.step_update(step)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    return rates


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine() -> None:
    options = replace(OPTIONS, epochs=4, learning_rate=1.0, warmup_epochs=1.0)
    rates = scheduled_rates(options, 5)
    warmup = [0.01 + 0.99 * step / 5 for step in range(5)]
    cosine = [0.001 + 0.5 * (1 - 0.001) * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates == pytest.approx([*warmup, *cosine, 0.001])


def test_warm_up_takes_at_most_half_of_a_short_training() -> None:
    rates = scheduled_rates(replace(OPTIONS, epochs=1, learning_rate=1.0, warmup_epochs=5), 4)
    assert rates.index(max(rates)) == 2
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize(("bf16", "expected"), [(True, Muon), (False, ExactMuon)])
def test_muon_computes_in_bfloat16_where_that_pays(
    bf16: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16})
    trainer = create_trainer(tiny_model(), replace(OPTIONS, optimizer="muon"), 4)
    assert type(trainer.optimizer) is expected
