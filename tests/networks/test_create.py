"""Networks by name: their preprocessing travels with them."""

from __future__ import annotations

import os
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from landmark_ml.networks import create as weights
from landmark_ml.networks.create import (
    PACKAGED_WEIGHTS,
    WEIGHTS_FILE,
    LandmarkNetwork,
    WeightsError,
    check_known,
    count_macs,
    count_parameters,
    create_model,
    create_preprocessing,
    freeze_early_stages,
    load_weights,
    state_digest,
)
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.devices import Compute
from landmark_ml.training.loop import finetune_state
from tests.tiny_networks import (
    CPU,
    SIDE,
    TinyBackbone,
    fit_on_pixels,
    small_config,
    tiny_model,
    tiny_preprocessing,
)


def small(
    backbone: str = "test_efficientnet", num_outputs: int = 3, **changes: object
) -> LandmarkNetwork:
    return create_model(small_config(backbone, **changes), num_outputs)


def part(model: LandmarkNetwork) -> Any:
    """The first of the networks that are joined."""
    return model.network.networks[0]  # type: ignore[index]


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


SMALL, LITE0 = "test_efficientnet", "tf_efficientnet_lite0"


def network(seed: int, backbone: str = SMALL, num_classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made: nn.Module = timm.create_model(backbone, num_classes=num_classes)
    return made


def body_digest(made: nn.Module) -> str:
    return state_digest(made, skip=made.get_classifier())  # type: ignore[operator]


@pytest.mark.skipif(find_spec(PACKAGED_WEIGHTS[LITE0]) is None, reason="the package is not here")
def test_packaged_weights_replace_the_initial_ones() -> None:
    first, second = network(0, LITE0, 1000), network(1, LITE0, 1000)
    assert state_digest(first) != state_digest(second)
    load_weights(first, LITE0, "pretrained")
    load_weights(second, LITE0, "pretrained")
    assert state_digest(first) == state_digest(second)
    # Trained batch norms have seen photos.
    assert not torch.equal(first.bn1.running_mean, torch.zeros(32))  # type: ignore[union-attr, arg-type]


def test_a_package_in_timms_order_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = network(1)
    renamed = {f"tensor_{i}": tensor for i, tensor in enumerate(source.state_dict().values())}
    (tmp_path / "ordered_weights_package").mkdir()
    (tmp_path / "ordered_weights_package" / "__init__.py").touch()
    torch.save(renamed, tmp_path / "ordered_weights_package" / "model.pth")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGED_WEIGHTS, SMALL, "ordered_weights_package")
    made = network(2)
    load_weights(made, SMALL, "pretrained")
    assert state_digest(made) == state_digest(source)


def test_random_leaves_the_initial_weights() -> None:
    made = network(0)
    before = state_digest(made)
    load_weights(made, SMALL, "random")
    assert state_digest(made) == before


def saved(source: nn.Module, path: Path) -> Path:
    state = source.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if "wrapped" in path.name else state, path)
    return path


@pytest.mark.parametrize("name", ["weights.pth", "wrapped.pth", "weights.safetensors"])
def test_weights_come_from_a_file(name: str, tmp_path: Path) -> None:
    source, made = network(1), network(2)
    load_weights(made, SMALL, str(saved(source, tmp_path / name)))
    assert state_digest(made) == state_digest(source)


def test_a_file_with_another_classifier_gives_all_but_the_classifier(tmp_path: Path) -> None:
    source, made = network(1, num_classes=11), network(2, num_classes=3)
    classifier = made.get_classifier().weight.clone()  # type: ignore[operator]
    load_weights(made, SMALL, str(saved(source, tmp_path / "weights.pth")))
    assert body_digest(made) == body_digest(source)
    assert torch.equal(made.get_classifier().weight, classifier)  # type: ignore[operator]


def test_weights_come_from_a_run_where_each_network_finds_its_own(
    tmp_path: Path, tracking_uri: str
) -> None:
    joined = small("test_efficientnet+test_byobnet")
    save_model(joined.network, str(tmp_path / WEIGHTS_FILE))
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / WEIGHTS_FILE))
    started = small("test_efficientnet+test_byobnet", weights=f"runs:/{run.info.run_id}")
    assert body_digest(started.network) == body_digest(joined.network)
    assert not torch.equal(started.classifier.weight, joined.classifier.weight)
    with pytest.raises(WeightsError, match="does not fit the network"):
        small("test_resnet", weights=f"runs:/{run.info.run_id}")


@pytest.mark.parametrize("address", ["runs:/0123456789abcdef", "models:/nowhere@champion"])
def test_weights_of_a_run_that_is_not_there_are_named(address: str, tracking_uri: str) -> None:
    with pytest.raises(WeightsError, match=rf"^weights '{address}' cannot be read: .*; give the"):
        small(weights=address)


def test_weights_of_a_transformer_fit_another_input_size(tmp_path: Path) -> None:
    large = small("test_vit", resolution=160)
    path = saved(part(large), tmp_path / "weights.safetensors")
    smaller = small("test_vit", resolution=64, weights=str(path))
    assert part(smaller).pos_embed.shape == (1, 1 + 16, 64)
    assert torch.equal(
        part(smaller).blocks[0].attn.qkv.weight, part(large).blocks[0].attn.qkv.weight
    )


def test_a_file_of_another_network_is_refused_before_anything_changes(tmp_path: Path) -> None:
    path = saved(network(1, "test_resnet"), tmp_path / "weights.pth")
    made = network(2)
    before = state_digest(made)
    with pytest.raises(WeightsError, match=r"does not fit the network: .*missing or of another"):
        load_weights(made, SMALL, str(path))
    assert state_digest(made) == before


class RunsCode:
    """What a hostile weights file holds."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "was_run"
    if zipped:
        torch.save({"stem.weight": RunsCode(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"stem.weight": RunsCode(marker)}, protocol=2))
    with pytest.raises(WeightsError, match=r"not a plain state dict \(only tensors.*torch\.save"):
        load_weights(network(0), SMALL, str(path))
    assert not marker.exists()


def test_a_missing_file_is_named() -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth does not exist"):
        load_weights(network(0), SMALL, "nowhere.pth")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_damaged_file_is_named(name: str, share: float, tmp_path: Path) -> None:
    path = saved(network(0), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=name):
        load_weights(network(0), SMALL, str(path))


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list, not a state dict"):
        load_weights(network(0), SMALL, str(tmp_path / "list.pth"))


def assert_names_three_ways(message: str) -> None:
    assert ".pth or .safetensors" in message
    assert LITE0 in message
    assert "hub" in message


def test_without_a_network_three_ways_to_weights_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(_: nn.Module, **_settings: Any) -> None:
        raise ConnectionError("no route to host\nand a long trace")

    monkeypatch.setattr(weights, "load_pretrained", offline)
    with pytest.raises(WeightsError, match=r"'test_efficientnet'.*no route to host\.") as raised:
        load_weights(network(0), SMALL, "pretrained")
    assert_names_three_ways(str(raised.value))
    assert "long trace" not in str(raised.value)


@pytest.mark.parametrize("backbone", ["our_own_network", "landmark_cnn"])
def test_a_backbone_that_no_hub_has_names_them_too(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "load_pretrained", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(WeightsError, match="timm has no pretrained weights of it") as raised:
        load_weights(network(0), backbone, "pretrained")
    assert_names_three_ways(str(raised.value))


def test_the_package_comes_before_the_hub_and_the_hub_before_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[nn.Module] = []
    monkeypatch.setattr(weights, "load_pretrained", lambda made, **_: asked.append(made))
    monkeypatch.setitem(PACKAGED_WEIGHTS, SMALL, "no_such_package_is_installed")
    made = network(0)
    load_weights(made, SMALL, "pretrained")
    assert asked == [made]


def test_the_digest_follows_the_weights() -> None:
    assert state_digest(tiny_model(seed=0)) == state_digest(tiny_model(seed=0))
    assert state_digest(tiny_model(seed=0)) != state_digest(tiny_model(seed=1))


def test_the_digest_can_leave_one_layer_out() -> None:
    made = network(0)
    before = body_digest(made), state_digest(made)
    with torch.no_grad():
        made.get_classifier().bias.add_(1)  # type: ignore[operator]
    assert body_digest(made) == before[0]
    assert state_digest(made) != before[1]


def test_the_digest_does_not_depend_on_the_memory_layout() -> None:
    made = network(0)
    before = state_digest(made)
    assert state_digest(made.to(memory_format=torch.channels_last)) == before


FINETUNED = small_config(finetune_learning_rate=0.01, layer_decay=0.9, ema_decay=0.5)


def seeded(backbone: str) -> LandmarkNetwork:
    return create_model(small_config(backbone), 3)


def train(model: LandmarkNetwork) -> None:
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    batches = TensorBatches(pixels, torch.arange(8) % 3, 4, torch.Generator().manual_seed(0))
    fit_on_pixels(model, batches, None, FINETUNED)


def changed(model: LandmarkNetwork) -> set[str]:
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    train(model)
    after = model.network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize("backbone", ["test_efficientnet", "landmark_cnn", "test_vit"])
def test_the_last_stages_learn_and_the_first_keep_weights_and_statistics(backbone: str) -> None:
    torch.manual_seed(0)
    model = seeded(backbone)
    freeze_early_stages(model, 1)
    learnt = changed(model)
    assert any(name.startswith("classifier") for name in learnt)
    frozen = {name for name, p in model.network.named_parameters() if not p.requires_grad}
    learning = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert frozen
    assert learning <= learnt
    # Neither the weights nor the running statistics of what is frozen.
    folders = {name.rpartition(".")[0] for name in frozen}
    assert not {name for name in learnt if name.rpartition(".")[0] in folders}


def test_batch_norms_put_in_place_later_stay_in_evaluation_too() -> None:
    model = seeded("test_efficientnet")
    freeze_early_stages(model, 1)
    part(model).bn1 = nn.BatchNorm2d(8)
    model.train()
    assert not part(model).bn1.training
    assert model.network.training


def test_every_further_stage_lets_more_parameters_learn() -> None:
    counts = []
    for stages in (1, 2, 3):
        model = seeded("test_efficientnet")
        freeze_early_stages(model, stages)
        counts.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    assert counts == sorted(set(counts))


def test_with_nothing_frozen_the_whole_network_learns() -> None:
    torch.manual_seed(0)
    model = seeded("test_efficientnet")
    freeze_early_stages(model, 0)
    assert all(p.requires_grad for p in model.parameters())
    assert changed(model) == set(model.network.state_dict())


def test_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="unfreeze is 99 and the network has"):
        freeze_early_stages(seeded("test_efficientnet"), 99)


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
