"""Networks by name: their preprocessing travels with them."""

from __future__ import annotations

import pickle

import pytest
import timm
import torch
from torch import nn

from landmark_ml.networks.create import (
    LandmarkNetwork,
    check_known,
    count_macs,
    count_parameters,
    create_model,
    create_preprocessing,
)
from landmark_ml.training.devices import Compute
from tests.tiny_networks import (
    SIDE,
    TinyBackbone,
    small_config,
    tiny_model,
    tiny_preprocessing,
)


def small(
    backbone: str = "test_efficientnet", num_outputs: int = 3, **changes: object
) -> LandmarkNetwork:
    return create_model(small_config(backbone, **changes), num_outputs)


def test_an_unknown_backbone_suggests_near_names() -> None:
    with pytest.raises(
        ValueError, match=r"'tf_eficientnet_lite0' is unknown.*tf_efficientnet_lite0"
    ):
        small("tf_eficientnet_lite0")
    with pytest.raises(ValueError, match=r"'zzzzzz' is unknown.*list_models"):
        small("zzzzzz")


def test_unknown_weights_of_a_backbone_suggest_the_known_ones() -> None:
    check_known("test_efficientnet+test_efficientnet.r160_in1k")
    sentence = "'in21k' that timm does not know; give test_efficientnet or test_efficientnet.r160"
    with pytest.raises(ValueError, match=sentence):
        check_known("test_resnet+test_efficientnet.in21k")


def test_the_classifier_is_new_and_of_the_size_asked_for() -> None:
    model = small(num_outputs=7)
    assert model.classifier.out_features == 7
    assert model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 7)


def test_preprocessing_comes_from_the_backbone() -> None:
    plain = small("test_efficientnet").preprocessing
    halves = small("test_efficientnet_gn", framing="crop", resolution=0).preprocessing
    assert plain.mean == (0.485, 0.456, 0.406)
    assert plain.std == (0.229, 0.224, 0.225)
    assert (plain.resolution, plain.framing) == (32, "squash")
    assert halves.mean == halves.std == (0.5, 0.5, 0.5)
    assert (halves.resolution, halves.framing) == (160, "crop")
    assert halves.resize == round(160 / 0.95)


@pytest.mark.parametrize("backbone", ["landmark_cnn", "test_efficientnet", "test_resnet.r160_in1k"])
def test_the_resolution_of_a_backbone_is_known_before_it_is_built(backbone: str) -> None:
    config = small_config(backbone, resolution=0)
    built = create_model(config, 3).network
    assert create_preprocessing(config).resolution == built.pretrained_cfg["input_size"][-1]  # type: ignore[index]


def test_our_own_network_has_no_pretrained_weights() -> None:
    with pytest.raises(ValueError, match="landmark_cnn has no pretrained weights"):
        timm.create_model("landmark_cnn", pretrained=True)


def test_pixels_are_normalised_inside_the_network() -> None:
    model = small()
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(model.normalize(white)[0, :, 0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_byobnet", "test_resnet"])
def test_logits_are_the_classifier_on_the_features(backbone: str) -> None:
    model = small(backbone, drop_rate=0.5).eval()
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    features = model.features(pixels)
    assert features.shape == (3, model.classifier.in_features)
    assert torch.allclose(model.classifier(features), model(pixels), atol=1e-5)


def test_a_mirrored_network_says_the_same_of_a_photo_and_its_mirror_image() -> None:
    torch.manual_seed(0)
    model = small(mirror=True, drop_rate=0.5).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.allclose(model(pixels), model(pixels.flip(3)), atol=1e-5)
    model.mirror = False
    both = (model(pixels) + model(pixels.flip(3))) / 2
    assert not torch.allclose(model(pixels), model(pixels.flip(3)), atol=1e-5)
    model.mirror = True
    assert torch.allclose(model(pixels), both, atol=1e-5)


def test_a_mirrored_network_learns_from_one_view() -> None:
    torch.manual_seed(0)
    model = small(mirror=True).train()
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert not torch.allclose(model(pixels), model(pixels.flip(3)), atol=1e-5)


def test_a_classifier_that_is_not_linear_is_refused() -> None:
    backbone = TinyBackbone(3)
    backbone.head = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Identity and a linear layer is needed"):
        _ = LandmarkNetwork(backbone, tiny_preprocessing()).classifier


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
