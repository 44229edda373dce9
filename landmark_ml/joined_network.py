"""Several networks side by side as one: what each has learnt to see, one classifier over all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.models import group_modules, group_parameters
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_CLASSIFIER_DEPTH = 1


class JoinedNetwork(nn.Module):
    """Stacks the feature maps of networks that see the same pixels.

    An ensemble (Hansen and Salamon, Neural network ensembles, PAMI 1990) with one linear classifier
    over all features, which is trained and served as one network: [N, 3, H, W] to maps
    [N, sum of channels, h, w] to logits. Input size and normalisation are those of the first.
    Raises ValueError for networks that do not stack. The methods are those timm expects.
    """

    def __init__(self, networks: Sequence[nn.Module], drop_rate: float = 0.0) -> None:
        super().__init__()
        self.pretrained_cfg = _shared_config(networks)
        for network in networks:
            network.reset_classifier(0)  # type: ignore[operator]
        self.networks = nn.ModuleList(networks)
        self.num_features = sum(_num_features(network) for network in networks)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        # No module: layers are part of the identity of cached features, dropout is not.
        self.drop_rate = drop_rate
        self.classifier = nn.Linear(self.num_features, 1)

    def get_classifier(self) -> nn.Linear:
        """The layer over the features of all."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new classifier of `num_classes` in place of the last layer."""
        self.classifier = nn.Linear(self.num_features, num_classes)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """From the name of a layer to its depth, counted from the output in every network."""
        depths = [_depths(network, coarse) for network in self.networks]

        def depth(name: str) -> int:
            if not name.startswith("networks."):
                return _CLASSIFIER_DEPTH
            _, index, layer = name.split(".", 2)
            return depths[int(index)][layer]

        return depth

    def forward_features(self, x: Tensor) -> Tensor:
        """Stacked feature maps [N, num_features, h, w]."""
        return torch.cat([network.forward_features(x) for network in self.networks], dim=1)  # type: ignore[operator]

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of stacked maps, or with pre_logits what the classifier sees."""
        pooled = functional.dropout(self.pool(maps), self.drop_rate, self.training)
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, num_classes]."""
        return self.forward_head(self.forward_features(x))


def _num_features(network: nn.Module) -> int:
    return int(network.num_features)  # type: ignore[arg-type]


def _shared_config(networks: Sequence[nn.Module]) -> dict[str, Any]:
    """Input size and normalisation of the first; refuses networks that differ from it."""
    first: dict[str, Any] = dict(networks[0].pretrained_cfg)  # type: ignore[arg-type]
    for network in networks:
        config: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
        for name in ("mean", "std"):
            if config[name] != first[name]:
                raise ValueError(
                    f"joined backbones were trained with {name} {first[name]} and {config[name]};"
                    " join those of one normalisation"
                )
    shapes = [_maps_shape(network, first["input_size"]) for network in networks]
    if len({shape[2:] for shape in shapes}) > 1 or any(len(shape) != 4 for shape in shapes):
        raise ValueError(
            f"joined backbones give maps of shapes {shapes}, which do not stack; join networks"
            " of one stride"
        )
    return first


@torch.no_grad()
def _maps_shape(network: nn.Module, input_size: tuple[int, int, int]) -> tuple[int, ...]:
    network.eval()
    # Not zeros: of them every layer makes the same.
    pixels = torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0))
    maps: Tensor = network.forward_features(pixels)  # type: ignore[operator]
    pooled: Tensor = network.forward_head(maps, pre_logits=True)  # type: ignore[operator]
    if maps.ndim != 4 or not torch.allclose(pooled, maps.mean(dim=(2, 3)), atol=1e-4):
        raise ValueError(
            f"a {type(network).__name__} does more between its maps and its classifier than to"
            " average; join networks that only average, as the efficientnets do"
        )
    return tuple(maps.shape)


def _depths(network: nn.Module, coarse: bool) -> dict[str, int]:
    """Depth of parameters and of modules by name; 0 is the last group."""
    matcher = network.group_matcher(coarse=coarse)  # type: ignore[operator]
    parameters = group_parameters(network, matcher, reverse=True)
    modules = group_modules(network, matcher, reverse=True)
    last = max(parameters.values())
    return {name: group - last for name, group in {**modules, **parameters}.items()}
