"""How large a network is: its parameters, and the multiplications that one photo costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from landmark_ml.networks.create import LandmarkNetwork


def count_parameters(network: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(model: LandmarkNetwork) -> int:
    """Multiply-accumulates of one photo through convolutions and linear layers."""
    total = 0

    def add(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        if isinstance(module, nn.Conv2d):
            total += weight[0].numel() * output[0].numel()  # type: ignore[index]
        else:
            total += weight.numel() * output[0].numel() // output.shape[-1]  # type: ignore[operator]

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    training = model.training
    side = model.preprocessing.resolution
    photo = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=model.mean.device)
    try:
        with torch.no_grad():
            model.eval()(photo)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return total
