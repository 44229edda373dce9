"""Parameters and multiplications of a network, counted by hand beside it."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from landmark_ml.networks.create import LandmarkNetwork
from landmark_ml.networks.size import count_macs, count_parameters
from landmark_ml.training.devices import Compute
from tests.tiny_networks import SIDE, TinyBackbone, tiny_model, tiny_preprocessing


def test_macs_and_parameters_of_a_network_counted_by_hand() -> None:
    model = tiny_model(num_outputs=3)
    positions = (SIDE // 4) ** 2
    assert count_macs(model) == positions * 8 * (3 * 4 * 4) + 8 * 3
    assert count_parameters(model) == 8 * 3 * 4 * 4 + 2 * 8 + 8 * 3 + 3


def test_macs_of_grouped_convolutions_count_their_own_inputs_only() -> None:
    backbone = TinyBackbone(3)
    backbone.norm = nn.Conv2d(8, 8, 3, padding=1, groups=8)  # type: ignore[assignment]
    model = LandmarkNetwork(backbone, tiny_preprocessing())
    assert count_macs(model) - count_macs(tiny_model()) == (SIDE // 4) ** 2 * 8 * 9


def test_a_network_on_another_device_is_counted_there() -> None:
    model = Compute(torch.device("meta"), bf16=False).place(tiny_model())
    assert count_macs(model) == count_macs(tiny_model())


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_network_as_it_was(training: bool) -> None:
    model = tiny_model().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_macs(model)
    assert model.training is training
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_counted_network_can_still_be_handed_to_another_process() -> None:
    model = tiny_model()
    pickled = pickle.dumps(model)
    count_macs(model)
    assert len(pickle.dumps(model)) == len(pickled)
