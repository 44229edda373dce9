"""A fit in as many processes as torchrun starts; the first writes the metrics of its epochs.

`python -m tests.shared_fit metrics.json`
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.devices import Processes, choose_compute, join_processes, seed_everything
from tests.tiny_networks import fit_on_pixels, small_config

CONFIG = small_config(
    finetune_epochs=4,
    finetune_learning_rate=0.02,
    label_smoothing=0.1,
    mixup=0.4,
    cutmix=1.0,
    ema_decay=0.9,
    batch_parts=2,
)


class Plain(nn.Module):
    """No batch norm and no dropout: nothing in it knows how a batch is parted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Flatten())
        self.classifier = nn.Linear(8 * 7 * 7, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(pixels.float() / 255))
        return logits


def colours(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise [count, 3, 16, 16] that is brightest in the channel of its class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 200, (count, 3, 16, 16), generator=generator)
    pixels[torch.arange(count), labels] += 55
    return pixels.to(torch.uint8), labels


def run(processes: Processes) -> list[dict[str, float]]:
    """Metrics of every epoch; the followers begin with other weights and other draws."""
    seed_everything(processes.rank)
    rows: list[dict[str, float]] = []
    order = torch.Generator().manual_seed(0)
    # Rounding to bfloat16, where a processor trains in it, depends on how a batch is parted.
    exact = replace(choose_compute("cpu", 1, processes), bf16=False)
    train = TensorBatches(*colours(60, 1), 12, order, compute=exact)
    # An odd number: the processes hold different numbers of validation photos.
    val = TensorBatches(*colours(19, 2), 4, compute=exact)
    fit_on_pixels(Plain(), train, val, CONFIG, rows.append, compute=exact)
    return rows


if __name__ == "__main__":
    with join_processes("cpu") as joined:
        metrics = run(joined)
        if joined.is_first:
            Path(sys.argv[1]).write_text(json.dumps(metrics))
