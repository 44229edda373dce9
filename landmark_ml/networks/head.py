"""The classifier alone, trained on cached features and then folded into the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from landmark_ml.networks.dropout import ByteDropout

if TYPE_CHECKING:
    from torch import Tensor


class Head(nn.Module):
    """Features float [N, F] to logits: standardised, dropped out, then one linear layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Tensor, num_outputs: int, drop_rate: float) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(dim=0))
        # A feature that never fires has no scale; 1 leaves it at 0.
        deviation = features.std(dim=0)
        self.register_buffer("scale", torch.where(deviation > 1e-6, deviation, 1.0))
        self.dropout = ByteDropout(drop_rate)
        self.classifier = nn.Linear(features.shape[1], num_outputs)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout((features - self.mean) / self.scale))
        return logits

    @torch.no_grad()
    def fold_into(self, linear: nn.Linear) -> None:
        """Write the standardisation and the weights into one plain linear layer."""
        weight = self.classifier.weight / self.scale
        linear.weight.copy_(weight)
        linear.bias.copy_(self.classifier.bias - weight @ self.mean)
