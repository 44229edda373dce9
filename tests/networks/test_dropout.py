"""Dropout by bytes drops as often as asked, keeps the mean, and nothing outside training."""

from __future__ import annotations

import pytest
import torch

from landmark_ml.networks.dropout import ByteDropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_as_much_is_dropped_as_asked_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(rate).train()(torch.ones(301, 203))
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    # Neither rows nor columns go together.
    assert float(dropped.mean(dim=0).std()) < 0.15 / (1 - rate)
    assert float(dropped.mean(dim=1).std()) < 0.15 / (1 - rate)


def test_the_seed_decides_what_is_dropped() -> None:
    layer, ones = ByteDropout(0.5).train(), torch.ones(40)
    torch.manual_seed(3)
    first, other = layer(ones), layer(ones)
    torch.manual_seed(3)
    assert torch.equal(layer(ones), first)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_outside_training_or_at_a_rate_of_0() -> None:
    values = torch.arange(10.0)
    assert ByteDropout(0.5).eval()(values) is values
    assert ByteDropout(0.0).train()(values) is values


@pytest.mark.parametrize("rate", [0.998, 0.9981, 0.9999])
def test_the_highest_rates_keep_a_little(rate: float) -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(rate).train()(torch.ones(301, 203))
    assert float((dropped == 0).float().mean()) == pytest.approx(255 / 256, abs=0.001)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.2)


def test_gradients_flow_through_what_is_kept() -> None:
    values = torch.ones(64, requires_grad=True)
    dropped = ByteDropout(0.5).train()(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())
