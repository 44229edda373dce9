"""Classifiers that learn on cached features of a frozen backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landmark_ml.networks.rejection import References, Rows, blocks

_STEPS = 256


class Head(nn.Module):
    """Features float [N, F] to logits: standardised, dropped out, then one linear layer.

    generator: for the dropout, None takes torch's own.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        features: Rows,
        num_outputs: int,
        drop_rate: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        mean, deviation = moments(features)
        self.register_buffer("mean", mean)
        # A constant feature has no scale; 1 leaves it at 0.
        self.register_buffer("scale", torch.where(deviation > 1e-6, deviation, 1.0))
        self.dropout = ByteDropout(drop_rate, generator)
        self.classifier = nn.Linear(len(mean), num_outputs)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor) -> Tensor:
        # One pass over the features; subtracting and dividing took a quarter of a step.
        standard = torch.addcmul(-self.mean / self.scale, features, 1 / self.scale)
        logits: Tensor = self.classifier(self.dropout(standard))
        return logits

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """Logits of features [N, F], without dropout."""
        self.eval()
        found: Tensor = self(features)
        return found

    def references(self, features: Rows, targets: Tensor, num_classes: int) -> References:
        """What photos are compared with, from the photos this head was trained on."""
        standardised = self.mean, self.scale
        return References.of(features, targets, num_classes, standardised, self.logits)

    @torch.no_grad()
    def fold_into(self, linear: nn.Linear) -> None:
        """Write the standardisation and the weights into one plain linear layer."""
        weight = self.classifier.weight / self.scale
        linear.weight.copy_(weight)
        linear.bias.copy_(self.classifier.bias - weight @ self.mean)


def moments(rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [F] of rows [N, F], a block at a time.

    Source: Chan, Golub and LeVeque, Updating formulae for computing sample variances, 1979.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for chosen, block in blocks(rows):
        added, fresh = len(chosen), block.mean(dim=0)
        moved = fresh - mean
        inside = block.var(dim=0, correction=0) * added
        squares = squares + inside + moved.square() * (count * added / (count + added))
        mean = mean + moved * (added / (count + added))
        count += added
    return mean, (squares / max(count - 1, 1)).sqrt()


class ByteDropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 2014) at a rate rounded to a 256th, at most 255/256.

    torch draws 32 bits for each element, one at a time on a CPU: half of a training step of a head
    on cached features. A byte for each element, drawn eight at a time, takes a tenth of that.
    """

    def __init__(self, rate: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.threshold = min(round(rate * _STEPS), _STEPS - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.threshold:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        # Without a lower end the sign bit would never be drawn.
        words.random_(-(2**63), None, generator=self.generator)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * kept * (_STEPS / (_STEPS - self.threshold))
