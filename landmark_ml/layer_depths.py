"""How deep each layer of a timm network lies, counted from its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models import group_modules, group_parameters

if TYPE_CHECKING:
    from torch import nn

CLASSIFIER_DEPTH = 1
"""Of what stands behind networks side by side: it comes after every layer of theirs."""


def layer_depths(network: nn.Module, coarse: bool) -> dict[str, int]:
    """Depth of parameters and of modules by name; 0 is the last group."""
    matcher = network.group_matcher(coarse=coarse)  # type: ignore[operator]
    parameters = group_parameters(network, matcher, reverse=True)
    modules = group_modules(network, matcher, reverse=True)
    last = max(parameters.values())
    return {name: group - last for name, group in {**modules, **parameters}.items()}
