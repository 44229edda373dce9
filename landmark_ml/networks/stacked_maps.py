"""What the classifier of networks side by side sees of one of them: maps of its stages, stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

# Of a map that is the same everywhere, whose deviation has no gradient.
_SMALLEST_VARIANCE = 1e-6


def stacked_maps(
    network: nn.Module, x: Tensor, indices: list[int], statistics: bool = False
) -> Tensor:
    """What a network sees, and behind it what the stages of these indices see there."""
    if indices:
        last, earlier = network.forward_intermediates(x, indices=indices)  # type: ignore[operator]
    else:
        last, earlier = network.forward_features(x), []  # type: ignore[operator]

    def kinds(maps: Tensor) -> list[Tensor]:
        return [maps, spread_maps(maps)] if statistics else [maps]

    # Only earlier ones have other places: pooling the last, the widest, would copy it.
    pooled = [
        functional.adaptive_avg_pool2d(kind, (last.shape[2], last.shape[3]))
        for seen in earlier
        for kind in kinds(seen)
    ]
    return torch.cat([*kinds(last), *pooled], dim=1)


def spread_maps(maps: Tensor) -> Tensor:
    """Maps [N, C, h, w] whose means over the places are the standard deviations of these."""
    # In full precision: squares of small differences are what bfloat16 cannot hold.
    squares = (maps.float() - maps.float().mean(dim=(2, 3), keepdim=True)).square()
    return squares / (squares.mean(dim=(2, 3), keepdim=True) + _SMALLEST_VARIANCE).sqrt()


@torch.no_grad()
def earlier_stages(network: nn.Module, stages: int) -> list[int]:
    """Indices of the last stages whose maps are not what the network ends with anyway."""
    if not stages:
        return []
    name = type(network).__name__
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(
            f"a {name} does not give out what its stages see; give feature_stages 0, or a backbone"
            " that does, as most of timm's do"
        )
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    last, maps = network.forward_intermediates(_example(config["input_size"]))  # type: ignore[operator]
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


@torch.no_grad()
def example_maps(
    network: nn.Module,
    input_size: tuple[int, int, int],
    indices: Sequence[int] = (),
    statistics: bool = False,
) -> Tensor:
    """Stacked maps of one photo of nothing."""
    return stacked_maps(network.eval(), _example(input_size), list(indices), statistics)


def _example(input_size: tuple[int, int, int]) -> Tensor:
    # Not zeros: of them every layer makes the same.
    return torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0))
