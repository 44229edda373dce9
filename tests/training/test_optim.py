"""Learning rates of a training: by layer, and over its steps."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from timm.optim import Muon
from torch import nn

from landmark_ml.networks.create import create_model
from landmark_ml.training.optim import ExactMuon, finetune_state
from tests.tiny_networks import CPU, small_config, tiny_model

if TYPE_CHECKING:
    from landmark_ml.config import TrainConfig

CONFIG = small_config(finetune_epochs=6, finetune_learning_rate=0.05)


def rates_by_parameter(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: rates[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
def test_layer_decay_gives_smaller_rates_to_earlier_layers(warmup_epochs: float) -> None:
    model = create_model(small_config(), 3)
    config = replace(
        CONFIG, layer_decay=0.5, warmup_epochs=warmup_epochs, finetune_learning_rate=0.1
    )
    state = finetune_state(model, config, CPU, 4)
    for step in range(2):
        state.scheduler.step_update(step)
        rates = rates_by_parameter(model, state.optimizer)
        stem, head = rates["network.conv_stem.weight"], rates["network.classifier.weight"]
        blocks = [rate for name, rate in rates.items() if ".blocks." in name]
        assert stem < min(blocks) < max(blocks) < head
        assert min(blocks) == pytest.approx(stem * 2)


def test_without_layer_decay_all_layers_share_the_rate() -> None:
    model = tiny_model()
    state = finetune_state(model, replace(CONFIG, warmup_epochs=0), CPU, 4)
    assert set(rates_by_parameter(model, state.optimizer).values()) == {0.05}


def test_only_weights_decay() -> None:
    state = finetune_state(tiny_model(), replace(CONFIG, finetune_weight_decay=0.3), CPU, 4)
    decays = {p.ndim: g["weight_decay"] for g in state.optimizer.param_groups for p in g["params"]}
    assert decays == {4: 0.3, 2: 0.3, 1: 0.0}


def scheduled_rates(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    state = finetune_state(tiny_model(), config, CPU, steps_per_epoch)
    rates = [state.optimizer.param_groups[0]["lr"]]
    for step in range(1, config.finetune_epochs * steps_per_epoch + 1):
        state.scheduler.step_update(step)
        rates.append(state.optimizer.param_groups[0]["lr"])
    return rates


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine() -> None:
    config = replace(CONFIG, finetune_epochs=4, finetune_learning_rate=1.0, warmup_epochs=1.0)
    rates = scheduled_rates(config, 5)
    warmup = [0.01 + 0.99 * step / 5 for step in range(5)]
    cosine = [0.001 + 0.5 * (1 - 0.001) * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates == pytest.approx([*warmup, *cosine, 0.001])


def test_warm_up_takes_at_most_half_of_a_short_training() -> None:
    rates = scheduled_rates(
        replace(CONFIG, finetune_epochs=1, finetune_learning_rate=1.0, warmup_epochs=5), 4
    )
    assert rates.index(max(rates)) == 2
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize(("bf16", "expected"), [(True, Muon), (False, ExactMuon)])
def test_muon_computes_in_bfloat16_where_that_pays(
    bf16: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16})
    state = finetune_state(tiny_model(), replace(CONFIG, optimizer="muon"), CPU, 4)
    assert type(state.optimizer) is expected


def stepped(network: nn.Module, optimizer: type[torch.optim.Optimizer]) -> torch.Tensor:
    network = copy.deepcopy(network)
    torch.manual_seed(1)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer(network.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    return next(network.parameters()).detach()


def test_a_step_is_that_of_timm_but_for_rounding() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 8, 3)
    before = next(network.parameters()).detach()
    rounded, exact = stepped(network, Muon), stepped(network, ExactMuon)
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, atol=0.02 * float((exact - before).abs().max()))
