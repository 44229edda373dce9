"""Which stages of a network fine-tuning changes: the rest neither learns nor moves its averages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models import group_modules, group_parameters

if TYPE_CHECKING:
    from torch import nn

    from landmark_ml.networks.create import LandmarkNetwork


def freeze_early_stages(model: LandmarkNetwork, unfreeze: int) -> None:
    """Leave the last `unfreeze` stages and the classifier to learn; 0 leaves the whole network.

    What is frozen costs no backward pass and stays in evaluation mode, so that its batch norms keep
    the statistics they were trained with. Stages are timm's coarse groups: the stem, then each
    resolution or width of the network. Raises ValueError for more stages than there are.
    """
    frozen = early_stages(model, unfreeze)
    for name, parameter in model.network.named_parameters():
        if name in frozen:
            parameter.requires_grad = False
    model.keep_in_evaluation(frozen)


def early_stages(model: LandmarkNetwork, unfreeze: int) -> set[str]:
    """Names of parameters and modules before the last `unfreeze` stages; of 0 stages none."""
    if not unfreeze:
        return set()
    stages = _stages(model.network)
    if unfreeze > len(stages):
        raise ValueError(
            f"unfreeze is {unfreeze} and the network has {len(stages)} stages; give at most that"
            " many, or 0 for the whole network"
        )
    return {name for names in stages[: len(stages) - unfreeze] for name in names}


def _stages(network: nn.Module) -> list[set[str]]:
    """Names of parameters and modules of each stage from input to output, classifier left out."""
    matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
    parameters = group_parameters(network, matcher)
    modules = group_modules(network, matcher)
    classifier = {id(p) for p in network.get_classifier().parameters()}  # type: ignore[operator]
    own = {name for name, p in network.named_parameters() if id(p) in classifier}
    return [
        {*parameters[group], *modules.get(group, ())}
        for group in sorted(parameters)
        if not set(parameters[group]) <= own
    ]
