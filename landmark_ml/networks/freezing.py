"""Which stages of a network learn in fine-tuning, and how deep each layer lies.

A stage is one of timm's coarse groups of layers: the stem, then each resolution or width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models import group_modules, group_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from landmark_ml.networks.create import LandmarkNetwork


def freeze_early_stages(model: LandmarkNetwork, unfreeze: int) -> None:
    """Let only the last `unfreeze` stages and the classifier learn; 0 leaves the whole network.

    Frozen stages cost no backward pass and stay in evaluation mode, so their batch norms keep their
    statistics. Raises ValueError for more stages than there are.
    """
    frozen = early_stages(model, unfreeze)
    for name, parameter in model.network.named_parameters():
        if name in frozen:
            parameter.requires_grad = False
    model.keep_in_evaluation(frozen)


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


def depth_in_each(networks: Iterable[nn.Module], folder: str, coarse: bool) -> Callable[[str], int]:
    """Group matcher, as timm's, of networks side by side: depths count from the output of each.

    folder: name of the module list that holds them. What is in no network is the classifier.
    """
    depths = []
    for network in networks:
        matcher = network.group_matcher(coarse=coarse)  # type: ignore[operator]
        parameters = group_parameters(network, matcher, reverse=True)
        modules = group_modules(network, matcher, reverse=True)
        last = max(parameters.values())
        depths.append({name: depth - last for name, depth in (modules | parameters).items()})

    def depth(name: str) -> int:
        if not name.startswith(f"{folder}."):
            return 1
        _, index, layer = name.split(".", 2)
        return int(depths[int(index)][layer])

    return depth


def undecayed_in_each(networks: Iterable[nn.Module], folder: str) -> set[str]:
    """Names of parameters that must not decay, as timm's `no_weight_decay`, of all networks."""
    return {
        f"{folder}.{index}.{name}"
        for index, network in enumerate(networks)
        for name in getattr(network, "no_weight_decay", set)()
    }
