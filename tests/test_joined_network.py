"""Networks side by side see what each of them sees, and train and freeze as one."""

from __future__ import annotations

import pytest
import torch

from landmark_ml.freezing import freeze_early_stages
from landmark_ml.models import LandmarkNetwork, ModelOptions, create_model
from landmark_ml.trainer import FitOptions, create_trainer

TWO = "test_efficientnet+test_byobnet"


def joined(backbone: str = TWO) -> LandmarkNetwork:
    return create_model(ModelOptions(backbone, 3, "random", 32)).eval()


def test_the_features_are_those_of_every_network_in_order() -> None:
    model = joined()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    normal = model.normalize(pixels)
    alone = [
        network.forward_features(normal).mean(dim=(2, 3))
        for network in model.network.networks  # type: ignore[union-attr]
    ]
    assert torch.allclose(model.features(pixels), torch.cat(alone, dim=1), atol=1e-5)
    assert model(pixels).shape == (2, 3)


def test_the_last_stages_of_every_network_learn() -> None:
    model = joined()
    freeze_early_stages(model, 1)
    learning = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert all(any(name.startswith(part) for name in learning) for part in _parts())
    frozen = {name for name, p in model.network.named_parameters() if not p.requires_grad}
    assert any(name.startswith("networks.1.stem") for name in frozen)
    assert "networks.0.conv_stem.weight" in frozen


def test_layers_equally_far_from_the_output_share_a_rate() -> None:
    model = joined("test_efficientnet+test_efficientnet")
    options = FitOptions("test", 3, 1, learning_rate=0.1, layer_decay=0.5, warmup_epochs=0)
    trainer = create_trainer(model, options, 4)
    rates = {id(p): g["lr"] for g in trainer.optimizer.param_groups for p in g["params"]}
    by_name = {name: rates[id(p)] for name, p in model.network.named_parameters()}
    first = {k[11:]: v for k, v in by_name.items() if k.startswith("networks.0.")}
    second = {k[11:]: v for k, v in by_name.items() if k.startswith("networks.1.")}
    assert first == second
    assert by_name["classifier.weight"] > max(first.values()) > min(first.values())


def test_networks_that_do_not_stack_are_refused() -> None:
    with pytest.raises(ValueError, match="were trained with mean"):
        joined("test_efficientnet+test_resnet")
    with pytest.raises(ValueError, match="a ConvNeXt does more between"):
        joined("test_resnet+test_convnext")
    with pytest.raises(ValueError, match="'nonsense' is unknown"):
        joined("test_efficientnet+nonsense")


def _parts() -> tuple[str, ...]:
    return "networks.0.", "networks.1.", "classifier."
