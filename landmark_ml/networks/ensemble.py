"""Networks of one kind that learn independently and are served as their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from landmark_ml.networks.freezing import depth_in_each, undecayed_in_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class AveragedNetworks(nn.Module):
    """Trains every network on a loss of its own and serves the mean of their logits.

    The networks differ by their random weights alone and make different mistakes, so their mean
    makes fewer (Hansen and Salamon, Neural network ensembles, PAMI 1990; for few photos: Brigato
    and Iocchi, A close look at deep learning with small data, ICPR 2020). A loss on the mean would
    make them depend on each other. Logits are linear in the stacked features, so one network with
    one classifier is served: [N, 3, H, W] to maps [N, sum of channels, h, w] to logits
    [N, num_classes], and in training [N, num_classes, networks]. The methods are those timm
    expects.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.pretrained_cfg: dict[str, Any] = dict(members[0].pretrained_cfg)  # type: ignore[arg-type]
        self.members = nn.ModuleList(members)
        features: list[int] = [member.num_features for member in members]  # type: ignore[misc]
        self.num_features = sum(features)

    @torch.no_grad()
    def get_classifier(self) -> nn.Linear:
        """A copy: one classifier over all features that gives the mean of the logits."""
        classifiers = [member.get_classifier() for member in self.members]  # type: ignore[operator]
        weight = torch.cat([one.weight for one in classifiers], dim=1) / len(classifiers)
        # On no device: drawing weights that are replaced would move the random generator.
        joined = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        joined.weight = nn.Parameter(weight)
        joined.bias = nn.Parameter(torch.stack([one.bias for one in classifiers]).mean(dim=0))
        return joined

    def reset_classifier(self, num_classes: int) -> None:
        """Give every network a new classifier of `num_classes`."""
        for member in self.members:
            member.reset_classifier(num_classes)  # type: ignore[operator]

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """From the name of a layer to its depth, counted from the output of its network."""
        return depth_in_each(self.members, "members", coarse)

    def no_weight_decay(self) -> set[str]:
        """Parameters of all networks that must not decay."""
        return undecayed_in_each(self.members, "members")

    def forward_features(self, x: Tensor) -> Tensor:
        """Stacked feature maps [N, num_features, h, w]."""
        return torch.cat([member.forward_features(x) for member in self.members], dim=1)  # type: ignore[operator]

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of stacked maps, or with pre_logits what the classifiers see.

        In training those of every network [N, num_classes, networks], else their mean.
        """
        parts = maps.chunk(len(self.members), dim=1)
        heads = [
            member.forward_head(part, pre_logits=pre_logits)  # type: ignore[operator]
            for member, part in zip(self.members, parts, strict=True)
        ]
        if pre_logits:
            return torch.cat(heads, dim=1)
        logits = torch.stack(heads, dim=2)
        return logits if self.training else logits.mean(dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, in training those of every network."""
        return self.forward_head(self.forward_features(x))
