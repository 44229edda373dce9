"""Dropout whose random numbers cost a byte an element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 256


class ByteDropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 2014) at a rate rounded to a 256th; any shape and dtype.

    Something is always kept: the largest rate is 255/256.

    torch draws a number of 32 bits for each element, one at a time on a CPU: for a head on cached
    features that took half of a training step. A byte for each, drawn eight at a time, takes a
    tenth of it.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.threshold = min(round(rate * _STEPS), _STEPS - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.threshold:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        # Without a lower end the sign bit would never be drawn.
        words.random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * kept * (_STEPS / (_STEPS - self.threshold))
