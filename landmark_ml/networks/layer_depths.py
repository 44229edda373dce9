"""How deep each layer of a timm network lies, counted from its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models import group_modules, group_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

_CLASSIFIER_DEPTH = 1


def depth_in_each(networks: Iterable[nn.Module], folder: str, coarse: bool) -> Callable[[str], int]:
    """From the name of a layer to its depth in the one of the networks that it belongs to.

    folder: name of the list that holds them; what stands in no network stands behind them all.
    """
    depths = [_depths(network, coarse) for network in networks]

    def depth(name: str) -> int:
        if not name.startswith(f"{folder}."):
            return _CLASSIFIER_DEPTH
        _, index, layer = name.split(".", 2)
        return depths[int(index)][layer]

    return depth


def _depths(network: nn.Module, coarse: bool) -> dict[str, int]:
    """Depth of parameters and of modules by name; 0 is the last group."""
    matcher = network.group_matcher(coarse=coarse)  # type: ignore[operator]
    parameters = group_parameters(network, matcher, reverse=True)
    modules = group_modules(network, matcher, reverse=True)
    last = max(parameters.values())
    return {name: group - last for name, group in {**modules, **parameters}.items()}
