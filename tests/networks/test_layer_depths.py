"""Layers of networks side by side learn at the rate of their depth, whichever network is theirs."""

from __future__ import annotations

from landmark_ml.networks.create import ModelOptions, create_model
from landmark_ml.training.optim import FitOptions, create_trainer

FIT = FitOptions("test", 3, 1, learning_rate=0.1, layer_decay=0.5, warmup_epochs=0)


def rates(options: ModelOptions) -> dict[str, float]:
    """Learning rate of each parameter of the network."""
    model = create_model(options)
    groups = create_trainer(model, FIT, 4).optimizer.param_groups
    by_parameter = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: by_parameter[id(p)] for name, p in model.network.named_parameters()}


def below(folder: str, by_name: dict[str, float]) -> dict[str, float]:
    """Rates of the layers in a folder, by their names in it."""
    return {k.removeprefix(folder): v for k, v in by_name.items() if k.startswith(folder)}


def test_layers_of_joined_networks_equally_far_from_the_output_share_a_rate() -> None:
    by_name = rates(ModelOptions("test_efficientnet+test_efficientnet", 3, "random", 32))
    first, second = below("networks.0.", by_name), below("networks.1.", by_name)
    assert first == second
    assert by_name["classifier.weight"] > max(first.values()) > min(first.values())


def test_layers_of_members_equally_far_from_the_output_share_a_rate() -> None:
    by_name = rates(ModelOptions("test_resnet", 3, "random", 32, members=2))
    first, second = below("members.0.", by_name), below("members.1.", by_name)
    assert first == second
    assert len(set(first.values())) > 2
