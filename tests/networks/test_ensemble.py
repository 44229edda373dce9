"""Networks side by side: their features in order, their stages, and how they are pooled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from landmark_ml.networks.create import LandmarkNetwork, create_model, freeze_early_stages
from landmark_ml.networks.ensemble import spread_maps
from landmark_ml.networks.export import backbone_digest
from tests.tiny_networks import small_config

TWO = "test_efficientnet+test_byobnet"


def joined(
    backbone: str = TWO, stages: int = 0, resolution: int = 32, pooling: str = "average"
) -> LandmarkNetwork:
    config = small_config(backbone, resolution=resolution, feature_stages=stages, pooling=pooling)
    return create_model(config, 3).eval()


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


def test_networks_that_do_not_stack_are_refused() -> None:
    with pytest.raises(ValueError, match="were trained with mean"):
        joined("test_efficientnet+test_resnet")
    with pytest.raises(ValueError, match="'nonsense' is unknown"):
        joined("test_efficientnet+nonsense")


# Wider behind the average, channels last, a norm behind the average, a class token.
@pytest.mark.parametrize(
    "backbone", ["mobilenetv3_small_050", "test_mambaout", "test_convnext", "test_vit"]
)
def test_what_a_network_pools_in_its_own_way_stands_behind_its_averaged_maps(backbone: str) -> None:
    model = joined(backbone, resolution=64)
    network, pixels = part(model), torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    raw = network.forward_features(model.normalize(pixels))
    own = network.forward_head(raw, pre_logits=True)
    features = model.features(pixels)
    assert torch.allclose(features[:, -own.shape[1] :], own, atol=1e-5)
    assert features.shape[1] == model.classifier.in_features > own.shape[1]
    # So it has places to look at, whatever the network is.
    assert torch.allclose(model.feature_maps(pixels).mean(dim=(2, 3)), features, atol=1e-5)


def test_a_class_token_is_seen_where_the_network_pools_only_the_patches() -> None:
    model = joined("vit_tiny_patch16_dinov3_qkvb", resolution=32)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = part(model).forward_features(model.normalize(pixels))
    expected = torch.cat([tokens[:, 5:].mean(dim=1), tokens[:, 0]], dim=1)
    assert torch.allclose(model.features(pixels), expected, atol=1e-5)


def test_a_convolutional_network_and_a_transformer_stand_side_by_side() -> None:
    config = small_config("test_resnet+test_vit3", resolution=64)
    model = create_model(replace(config, feature_stages=-1, pooling="auto"), 3).eval()
    alone = joined("test_resnet", stages=3, resolution=64, pooling="statistics")
    # Of the transformer the patches' mean and the class token.
    assert model.classifier.in_features == alone.classifier.in_features + 2 * 96
    assert model.feature_maps(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape[2:] == (2, 2)


def _parts() -> tuple[str, ...]:
    return "networks.0.", "networks.1.", "classifier."


def test_earlier_stages_stand_behind_the_last_maps_and_are_averaged_like_them() -> None:
    model = joined("test_efficientnet", stages=2)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    last, stages = part(model).forward_intermediates(model.normalize(pixels))
    expected = torch.cat([m.mean(dim=(2, 3)) for m in (last, *stages[-2:])], dim=1)
    assert torch.allclose(model.features(pixels), expected, atol=1e-5)
    assert model.feature_maps(pixels).mean(dim=(2, 3)).allclose(expected, atol=1e-5)
    assert model(pixels).shape == (2, 3)


def test_stages_of_several_networks_stack_also_at_sizes_that_do_not_divide() -> None:
    alone = joined("test_efficientnet", stages=2).classifier.in_features
    model = joined("test_efficientnet+test_efficientnet", stages=2, resolution=40)
    pixels = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    assert model.features(pixels).shape == (2, 2 * alone)


def test_statistics_are_the_mean_and_the_standard_deviation_of_every_map() -> None:
    model = joined("test_efficientnet", stages=2, resolution=64, pooling="statistics")
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    last, stages = part(model).forward_intermediates(model.normalize(pixels))
    kinds = [(m.mean(dim=(2, 3)), m.std(dim=(2, 3), correction=0)) for m in (last, *stages[-2:])]
    expected = torch.cat([kind for pair in kinds for kind in pair], dim=1)
    assert torch.allclose(model.features(pixels), expected, atol=2e-3)
    # What is served averages maps: what it sees in the mirror image, and where it looked.
    assert torch.equal(model.features(pixels), model.feature_maps(pixels).mean(dim=(2, 3)))


def test_one_network_pools_statistics_of_its_last_maps_alone() -> None:
    alone = joined("test_resnet").classifier.in_features
    assert joined("test_resnet", pooling="statistics").classifier.in_features == 2 * alone


def test_statistics_of_a_photo_of_one_color_can_be_learned_from() -> None:
    maps = torch.full((1, 2, 3, 3), 0.5, requires_grad=True)
    spread = spread_maps(maps)
    assert torch.equal(spread, torch.zeros_like(maps))
    (gradient,) = torch.autograd.grad(spread.sum(), maps)
    assert gradient.isfinite().all()


def test_a_last_stage_that_is_the_end_of_the_network_is_not_stacked_twice() -> None:
    model = joined("test_resnet", stages=1)
    channels = [info["num_chs"] for info in part(model).feature_info]
    assert model.classifier.in_features == channels[-1] + channels[-2]


def test_features_of_other_stages_are_other_features() -> None:
    digests = {backbone_digest(seeded("test_efficientnet", stages)) for stages in (0, 1, 2)}
    assert len(digests) == 3
    assert backbone_digest(seeded("test_efficientnet", 1)) in digests


def part(model: LandmarkNetwork) -> Any:
    """The first of the networks that are joined."""
    return model.network.networks[0]  # type: ignore[index]


def seeded(backbone: str, stages: int) -> LandmarkNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return joined(backbone, stages)


def test_more_earlier_stages_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="feature_stages is 9 and a EfficientNet has 5 stages"):
        joined("test_efficientnet", stages=9)
    with pytest.raises(ValueError, match="LandmarkCNN does not return the maps of its stages"):
        joined("landmark_cnn", stages=1)
