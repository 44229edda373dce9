"""Several networks served as one: side by side under one classifier, or averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models import group_modules, group_parameters
from torch import Tensor, nn
from torch.nn import functional

# Added to every variance: the deviation of a constant map would have no gradient.
_SMALLEST_VARIANCE = 1e-6


class SideBySide(nn.Module):
    """Networks in one list, with the methods that timm expects of a network.

    listed: name of the list, which is part of the names of all weights.
    """

    listed: str

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """From the name of a layer to its depth, counted from the output in every network.

        What is in no network is the classifier.
        """
        depths = []
        for network in getattr(self, self.listed):
            matcher = network.group_matcher(coarse=coarse)
            parameters = group_parameters(network, matcher, reverse=True)
            modules = group_modules(network, matcher, reverse=True)
            last = max(parameters.values())
            depths.append({name: depth - last for name, depth in (modules | parameters).items()})

        def depth(name: str) -> int:
            if not name.startswith(f"{self.listed}."):
                return 1
            _, index, layer = name.split(".", 2)
            return int(depths[int(index)][layer])

        return depth

    def no_weight_decay(self) -> set[str]:
        """Parameters of all networks that must not decay."""
        return {
            f"{self.listed}.{index}.{name}"
            for index, network in enumerate(getattr(self, self.listed))
            for name in getattr(network, "no_weight_decay", set)()
        }


class JoinedNetwork(SideBySide):
    """Stacks the feature maps of several networks, and of their earlier stages, for one classifier.

    An ensemble (Hansen and Salamon, Neural network ensembles, PAMI 1990) that is trained and served
    as one network: [N, 3, H, W] to maps [N, sum of channels, h, w] to logits. stages: how many
    earlier stages of each network are stacked too, counted from the output and pooled to the size
    of the last maps; they hold detail that tells landmarks apart and ImageNet's classes do not need
    (Evci et al., Head2Toe, ICML 2022). statistics: after each map comes one whose mean is the map's
    standard deviation over the photo (as Snyder et al., Deep neural network embeddings, Interspeech
    2017, pool sounds), so all features are still plain averages of maps. Input size and
    normalisation are those of the first network. Raises ValueError for networks that do not stack.
    """

    listed = "networks"

    def __init__(
        self,
        networks: Sequence[nn.Module],
        drop_rate: float = 0.0,
        stages: int = 0,
        *,
        statistics: bool = False,
    ) -> None:
        super().__init__()
        first: dict[str, Any] = dict(networks[0].pretrained_cfg)  # type: ignore[arg-type]
        self.pretrained_cfg = first
        self.statistics = statistics
        _check_stackable(networks, first, stages, statistics=statistics)
        for network in networks:
            network.reset_classifier(0)  # type: ignore[operator]
        self.networks = nn.ModuleList(networks)
        self.indices = [_earlier_stages(network, stages) for network in networks]
        example = _example(first["input_size"])
        with torch.no_grad():
            self.num_features = self.eval().forward_features(example).shape[1]
        self.train()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        # Not a module: layers are part of the identity of cached features, dropout is not.
        self.drop_rate = drop_rate
        self.classifier = nn.Linear(self.num_features, 1)

    def get_classifier(self) -> nn.Linear:
        """The layer over the features of all."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new classifier of `num_classes` in place of the last layer."""
        self.classifier = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Stacked feature maps [N, num_features, h, w]."""
        stacked = []
        for network, indices in zip(self.networks, self.indices, strict=True):
            if indices:
                last, earlier = network.forward_intermediates(x, indices=indices)  # type: ignore[operator]
            else:
                last, earlier = network.forward_features(x), []  # type: ignore[operator]
            # Only earlier maps are larger; pooling the last, the widest, would only copy it.
            stacked += self._kinds(last)
            for maps in earlier:
                for kind in self._kinds(maps):
                    stacked.append(
                        functional.adaptive_avg_pool2d(kind, (last.shape[2], last.shape[3]))
                    )
        return torch.cat(stacked, dim=1)

    def _kinds(self, maps: Tensor) -> list[Tensor]:
        return [maps, spread_maps(maps)] if self.statistics else [maps]

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of stacked maps, or with pre_logits what the classifier sees."""
        pooled = functional.dropout(self.pool(maps), self.drop_rate, self.training)
        return pooled if pre_logits else self.classifier(pooled)


@torch.no_grad()
def _check_stackable(
    networks: Sequence[nn.Module], first: dict[str, Any], stages: int, *, statistics: bool
) -> None:
    """Refuse networks of other normalisation, with more than average pooling, or other strides."""
    shapes = []
    for network in networks:
        config: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
        for name in ("mean", "std"):
            if config[name] != first[name]:
                raise ValueError(
                    f"joined backbones were trained with {name} {first[name]} and {config[name]};"
                    " join those of one normalisation"
                )
        maps = network.eval().forward_features(_example(first["input_size"]))  # type: ignore[operator]
        pooled = network.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        # Tokens have no places, channels may come last, and a layer behind the average widens it.
        shaped = maps.ndim == 4 and pooled.shape == maps.shape[:2]
        if not shaped or not torch.allclose(pooled, maps.mean(dim=(2, 3)), atol=1e-4):
            raise ValueError(_not_only_averages(network, len(networks), stages, statistics))
        shapes.append(tuple(maps.shape))
    if len({shape[2:] for shape in shapes}) > 1:
        raise ValueError(
            f"joined backbones give maps of shapes {shapes}, which do not stack; join networks"
            " of one stride"
        )


def _not_only_averages(network: nn.Module, count: int, stages: int, statistics: bool) -> str:
    name = type(network).__name__
    more = f"a {name} does more between its maps and its classifier than to average"
    if count > 1:
        return f"{more}; join networks that only average, as the efficientnets do"
    instead = {}
    if stages:
        instead[f"feature_stages is {stages}"] = "feature_stages 0"
    if statistics:
        instead["pooling is statistics"] = "pooling average"
    return (
        f"{', '.join(instead)} and {more}; give {' and '.join(instead.values())}, or a backbone"
        " that only averages, as the efficientnets do"
    )


def spread_maps(maps: Tensor) -> Tensor:
    """Maps [N, C, h, w] whose means over h and w are the standard deviations of the given maps."""
    # In full precision: squares of small differences are what bfloat16 cannot hold.
    squares = (maps.float() - maps.float().mean(dim=(2, 3), keepdim=True)).square()
    return squares / (squares.mean(dim=(2, 3), keepdim=True) + _SMALLEST_VARIANCE).sqrt()


@torch.no_grad()
def _earlier_stages(network: nn.Module, stages: int) -> list[int]:
    """Indices of the last stages before the one whose maps the network ends with."""
    if not stages:
        return []
    name = type(network).__name__
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(
            f"a {name} does not return the maps of its stages; give feature_stages 0, or a backbone"
            " that does, as most of timm's do"
        )
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    last, maps = network.eval().forward_intermediates(_example(config["input_size"]))  # type: ignore[operator]
    earlier = [
        index
        for index, seen in enumerate(maps)
        if seen.shape != last.shape or not torch.allclose(seen, last)
    ]
    if stages > len(earlier):
        raise ValueError(
            f"feature_stages is {stages} and a {name} has {len(earlier)} stages before its last"
            " maps; give at most that many"
        )
    return earlier[-stages:]


def _example(input_size: tuple[int, int, int]) -> Tensor:
    # Not zeros, which every layer maps to the same.
    return torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0))


class AveragedNetworks(SideBySide):
    """Trains every network on a loss of its own and serves the mean of their logits.

    The networks differ by their random weights alone and make different mistakes, so their mean
    makes fewer (Hansen and Salamon, Neural network ensembles, PAMI 1990; for few photos: Brigato
    and Iocchi, A close look at deep learning with small data, ICPR 2020). A loss on the mean would
    make them depend on each other. Logits are linear in the stacked features, so one network with
    one classifier is served: [N, 3, H, W] to maps [N, sum of channels, h, w] to logits
    [N, num_classes], and in training [N, num_classes, networks].
    """

    listed = "members"

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
