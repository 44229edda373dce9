"""Networks side by side under one classifier, and what it sees of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import group_modules, group_parameters
from torch import Tensor, nn
from torch.nn import functional

from landmark_ml.config.training import AUTO_STAGES

# Added to every variance: the deviation of a constant map would have no gradient.
_SMALLEST_VARIANCE = 1e-6
# Of a convolutional network; measured in experiments/tried.md.
_BEST_STAGES = 3


class JoinedNetwork(nn.Module):
    """Stacks the feature maps of one or several networks, and of their stages, for one classifier.

    An ensemble (Hansen and Salamon, Neural network ensembles, PAMI 1990) that is trained and served
    as one network: [N, 3, H, W] to maps [N, sum of channels, h, w] to logits. All features are
    plain averages of these maps: what a network pools in another way, such as a class token, is
    the same at every place. Input size and normalisation are those of the first network; maps are
    averaged down to the size of the smallest.

    stages, pooling: `feature_stages` and `pooling` of the configuration. side: of the photos, in
    pixels. Raises ValueError for networks that do not stack.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        side: int,
        drop_rate: float = 0.0,
        stages: int = AUTO_STAGES,
        pooling: str = "auto",
    ) -> None:
        super().__init__()
        first: dict[str, Any] = dict(networks[0].pretrained_cfg)  # type: ignore[arg-type]
        for network in networks:
            for name in ("mean", "std"):
                other = network.pretrained_cfg[name]  # type: ignore[index]
                if other != first[name]:
                    raise ValueError(
                        f"joined backbones were trained with {name} {first[name]} and {other};"
                        " join those of one normalisation"
                    )
            network.reset_classifier(0)  # type: ignore[operator]
        self.pretrained_cfg = first
        self.networks = nn.ModuleList(networks)
        # Not zeros, which every layer maps to the same.
        example = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        self.readings = [_Reading.of(network, example, stages, pooling) for network in networks]
        with torch.no_grad():
            self.num_features = self.eval().forward_features(example).shape[1]
        self.train()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        # Not a module: layers are part of the identity of cached features, dropout is not.
        self.drop_rate = drop_rate
        self.classifier: nn.Module = nn.Linear(self.num_features, 1)

    def get_classifier(self) -> nn.Module:
        """The layer over the features of all."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new classifier of `num_classes` in place of the last layer."""
        self.classifier = nn.Linear(self.num_features, num_classes)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """From the name of a layer to its depth, counted from the output in every network.

        What is in no network is the classifier.
        """
        depths = []
        for network in self.networks:
            matcher = network.group_matcher(coarse=coarse)  # type: ignore[operator]
            parameters = group_parameters(network, matcher, reverse=True)
            modules = group_modules(network, matcher, reverse=True)
            last = max(parameters.values())
            depths.append({name: depth - last for name, depth in (modules | parameters).items()})

        def depth(name: str) -> int:
            if not name.startswith("networks."):
                return 1
            _, index, *layer = name.split(".", 2)
            # A network that holds a parameter itself, such as a class token, is no layer.
            return int(depths[int(index)][layer[0]]) if layer else 0

        return depth

    def no_weight_decay(self) -> set[str]:
        """Parameters of all networks that must not decay."""
        return {
            f"networks.{index}.{name}"
            for index, network in enumerate(self.networks)
            for name in getattr(network, "no_weight_decay", set)()
        }

    def forward_features(self, x: Tensor) -> Tensor:
        """Stacked feature maps [N, num_features, h, w]."""
        read = zip(self.networks, self.readings, strict=True)
        stacked = [maps for network, reading in read for maps in reading.maps(network, x)]
        height, width = (min(maps.shape[axis] for maps in stacked) for axis in (2, 3))
        # Pooling maps of this size would only copy them.
        same = [
            maps
            if maps.shape[2:] == (height, width)
            else functional.adaptive_avg_pool2d(maps, (height, width))
            for maps in stacked
        ]
        return torch.cat(same, dim=1) if len(same) > 1 else same[0]

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of stacked maps, or with pre_logits what the classifier sees."""
        pooled = functional.dropout(self.pool(maps), self.drop_rate, self.training)
        return pooled if pre_logits else self.classifier(pooled)


@dataclass(frozen=True)
class _Reading:
    """Which maps of a network are stacked: the last, and what else the classifier sees.

    stages: indices of earlier stages; they hold detail that tells landmarks apart and ImageNet's
    classes do not need (Evci et al., Head2Toe, ICML 2022). spread: after each map comes one whose
    mean is the map's standard deviation over the photo (as Snyder et al., Deep neural network
    embeddings, Interspeech 2017, pool sounds). extra: `pooled` for what the network itself pools,
    where that is more than the average of the last maps; else `token` for a class token (Oquab et
    al., DINOv2, TMLR 2024, join it with the mean of the patches too).
    """

    stages: tuple[int, ...]
    spread: bool
    extra: str

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, example: Tensor, stages: int, pooling: str) -> _Reading:
        """What `stages` and `pooling` mean for a network; `auto` looks at how it is built."""
        raw = network.eval().forward_features(example)  # type: ignore[operator]
        last, pooled = _places(network, raw), network.forward_head(raw, pre_logits=True)  # type: ignore[operator]
        means, extra = last.mean(dim=(2, 3)), ""
        if pooled.shape != means.shape or not torch.allclose(pooled, means, atol=1e-4):
            extra = "pooled"
        elif getattr(network, "cls_token", None) is not None:
            extra = "token"
        # A transformer's blocks all see the whole photo: its last one sums them up.
        convolutional = raw.ndim == 4
        earlier: list[int] = []
        if stages and (stages != AUTO_STAGES or convolutional):
            earlier = _earlier_stages(network, example, last, stages)
        spread = pooling == "statistics" or (pooling == "auto" and convolutional)
        return cls(tuple(earlier), spread, extra)

    def maps(self, network: nn.Module, x: Tensor) -> Iterator[Tensor]:
        """Maps [N, channels, h, w] of normalised photos."""
        if self.stages:
            raw, earlier = network.forward_intermediates(x, indices=list(self.stages))  # type: ignore[operator]
        else:
            raw, earlier = network.forward_features(x), []  # type: ignore[operator]
        last = _places(network, raw)
        for maps in (last, *earlier):
            yield maps
            if self.spread:
                yield spread_maps(maps)
        if self.extra:
            own = raw[:, 0]
            if self.extra == "pooled":
                own = network.forward_head(raw, pre_logits=True)  # type: ignore[operator]
            yield own[:, :, None, None].expand(-1, -1, *last.shape[2:])


def _places(network: nn.Module, features: Tensor) -> Tensor:
    """Features of a timm network as maps [N, C, h, w]; they may be tokens or end in channels."""
    if features.ndim == 4:
        last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if last else features
    count, channels = features.shape[1:]
    # Photos are square; tokens of no place, such as a class token, come first.
    prefix = getattr(network, "num_prefix_tokens", count - math.isqrt(count) ** 2)
    side = math.isqrt(count - prefix)
    return features[:, prefix:].transpose(1, 2).reshape(-1, channels, side, side)


def spread_maps(maps: Tensor) -> Tensor:
    """Maps [N, C, h, w] whose means over h and w are the standard deviations of the given maps."""
    # In full precision: squares of small differences are what bfloat16 cannot hold.
    squares = (maps.float() - maps.float().mean(dim=(2, 3), keepdim=True)).square()
    return squares / (squares.mean(dim=(2, 3), keepdim=True) + _SMALLEST_VARIANCE).sqrt()


def _earlier_stages(network: nn.Module, example: Tensor, last: Tensor, stages: int) -> list[int]:
    """Indices of the last stages before the one whose maps the network ends with."""
    name = type(network).__name__
    if not hasattr(network, "forward_intermediates"):
        if stages == AUTO_STAGES:
            return []
        raise ValueError(
            f"a {name} does not return the maps of its stages; give feature_stages 0, or a backbone"
            " that does, as most of timm's do"
        )
    _, maps = network.forward_intermediates(example)  # type: ignore[operator]
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
    return earlier[-(_BEST_STAGES if stages == AUTO_STAGES else stages) :]
