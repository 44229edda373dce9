"""Pretrained weights: from a package, a file or the hub, and never anything in silence."""

from __future__ import annotations

import os
import pickle
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from landmark_ml.networks import weights
from landmark_ml.networks.weights import PACKAGED_WEIGHTS, WeightsError, load_weights, state_digest
from tests.tiny_networks import tiny_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

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


@pytest.mark.skipif(find_spec(PACKAGED_WEIGHTS[LITE0]) is None, reason="the package is not here")
def test_a_package_of_another_network_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED_WEIGHTS, SMALL, PACKAGED_WEIGHTS[LITE0])
    made = network(0)
    before = state_digest(made)
    with pytest.raises(WeightsError, match=r"tensors of .* do not match the \d+ of the network"):
        load_weights(made, SMALL, "pretrained")
    assert state_digest(made) == before


@pytest.mark.parametrize(("files", "count"), [((), 0), (("a.pth", "b.pth"), 2)])
def test_a_package_without_its_one_file_asks_to_be_reinstalled(
    files: tuple[str, ...], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tiny_weights_package"
    package.mkdir()
    for name in ("__init__.py", *files):
        (package / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGED_WEIGHTS, SMALL, package.name)
    with pytest.raises(WeightsError, match=rf"holds {count} weight files.*tiny-weights-package"):
        load_weights(network(0), SMALL, "pretrained")


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
    def offline(_: nn.Module) -> None:
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
    monkeypatch.setattr(weights, "load_pretrained", lambda _: pytest.fail("asked the hub"))
    with pytest.raises(WeightsError, match="timm has no pretrained weights of it") as raised:
        load_weights(network(0), backbone, "pretrained")
    assert_names_three_ways(str(raised.value))


def test_the_package_comes_before_the_hub_and_the_hub_before_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[nn.Module] = []
    monkeypatch.setattr(weights, "load_pretrained", asked.append)
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
