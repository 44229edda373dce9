"""Networks side by side and their earlier stages as one: one classifier over all they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from landmark_ml.networks.freezing import depth_in_each, undecayed_in_each
from landmark_ml.networks.stacked_maps import earlier_stages, example_maps, stacked_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class JoinedNetwork(nn.Module):
    """Stacks the feature maps of networks that see the same pixels, and of their earlier stages.

    An ensemble (Hansen and Salamon, Neural network ensembles, PAMI 1990) with one linear classifier
    over all features, which is trained and served as one network: [N, 3, H, W] to maps
    [N, sum of channels, h, w] to logits. stages: how many earlier stages of each network are
    stacked too, counted from the output and averaged to the size of the last; what they see is lost
    on the way to ImageNet's classes, and tells landmarks apart (Evci et al., Head2Toe, ICML 2022).
    statistics: behind each map stands one whose mean is the map's standard deviation over the photo
    (Snyder et al., Deep neural network embeddings, Interspeech 2017, pool sounds so), so that all
    the classifier sees is still the plain average of maps. Input size and normalisation are those
    of the first network. Raises ValueError for networks that do not stack. The methods are those
    timm expects.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        drop_rate: float = 0.0,
        stages: int = 0,
        *,
        statistics: bool = False,
    ) -> None:
        super().__init__()
        self.pretrained_cfg = _shared_config(networks)
        self.statistics = statistics
        _check_shapes(networks, self.pretrained_cfg["input_size"], _options(stages, statistics))
        for network in networks:
            network.reset_classifier(0)  # type: ignore[operator]
        self.networks = nn.ModuleList(networks)
        self.indices = [earlier_stages(network, stages) for network in networks]
        size = self.pretrained_cfg["input_size"]
        self.num_features = sum(
            example_maps(network, size, indices, statistics).shape[1]
            for network, indices in zip(networks, self.indices, strict=True)
        )
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
        return depth_in_each(self.networks, "networks", coarse)

    def no_weight_decay(self) -> set[str]:
        """Parameters of all networks that must not decay."""
        return undecayed_in_each(self.networks, "networks")

    def forward_features(self, x: Tensor) -> Tensor:
        """Stacked feature maps [N, num_features, h, w]."""
        every = zip(self.networks, self.indices, strict=True)
        stacked = [stacked_maps(network, x, i, self.statistics) for network, i in every]
        return torch.cat(stacked, dim=1)

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of stacked maps, or with pre_logits what the classifier sees."""
        pooled = functional.dropout(self.pool(maps), self.drop_rate, self.training)
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, num_classes]."""
        return self.forward_head(self.forward_features(x))


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
    return first


def _check_shapes(
    networks: Sequence[nn.Module], input_size: tuple[int, int, int], options: dict[str, str]
) -> None:
    """Refuse networks that do not only average their maps, and maps that do not stack.

    options: value by name of those that alone would need maps that are averaged.
    """
    shapes = []
    for network in networks:
        maps = example_maps(network, input_size)
        if not _only_averages(network, maps):
            raise ValueError(_more_than_averages(type(network).__name__, len(networks), options))
        shapes.append(tuple(maps.shape))
    if len({shape[2:] for shape in shapes}) > 1:
        raise ValueError(
            f"joined backbones give maps of shapes {shapes}, which do not stack; join networks"
            " of one stride"
        )


def _options(stages: int, statistics: bool) -> dict[str, str]:
    given = {"feature_stages": str(stages)} if stages else {}
    return given | ({"pooling": "statistics"} if statistics else {})


def _more_than_averages(name: str, count: int, options: dict[str, str]) -> str:
    more = f"a {name} does more between its maps and its classifier than to average"
    if count > 1:
        return f"{more}; join networks that only average, as the efficientnets do"
    given = ", ".join(f"{option} is {value}" for option, value in options.items())
    neutral = {"feature_stages": "0", "pooling": "average"}
    instead = " and ".join(f"{option} {neutral[option]}" for option in options)
    return (
        f"{given} and {more}; give {instead}, or a backbone that only averages, as the"
        " efficientnets do"
    )


@torch.no_grad()
def _only_averages(network: nn.Module, maps: Tensor) -> bool:
    pooled: Tensor = network.forward_head(maps, pre_logits=True)  # type: ignore[operator]
    # Tokens have no places, channels may come last, and a layer behind the average widens it.
    if maps.ndim != 4 or pooled.shape != maps.shape[:2]:
        return False
    return torch.allclose(pooled, maps.mean(dim=(2, 3)), atol=1e-4)
