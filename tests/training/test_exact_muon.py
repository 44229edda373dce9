"""The step of Muon in full precision is that of timm's, and the library stays as it was."""

from __future__ import annotations

import copy

import torch
from timm.optim import Muon, muon
from torch import nn

from landmark_ml.training.exact_muon import ExactMuon


def stepped(network: nn.Module, optimizer: type[torch.optim.Optimizer]) -> torch.Tensor:
    network = copy.deepcopy(network)
    torch.manual_seed(1)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer(network.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    return next(network.parameters()).detach()


def test_a_step_is_that_of_timm_but_for_rounding() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 8, 3)
    before, function = next(network.parameters()).detach(), muon.zeropower_via_newtonschulz
    rounded, exact = stepped(network, Muon), stepped(network, ExactMuon)
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, atol=0.02 * float((exact - before).abs().max()))
    assert muon.zeropower_via_newtonschulz is function
