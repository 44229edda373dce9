"""The loop of the tutorials: float32, every photo from its file through the network every epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.peers.folders import image_folder

if TYPE_CHECKING:
    from benchmarks.peers.contract import Stopwatch, Task


def train(task: Task, stopwatch: Stopwatch) -> None:
    """Train as torchvision's tutorial does: a frozen backbone's classifier, or all from scratch."""
    network = task.network()
    parameters = _learned(network, frozen=task.recipe == "transfer")
    batches, held_out = _loader(task, "train"), _loader(task, "test")
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.epochs)
    seen = 0
    for _ in range(task.epochs):
        network.train()
        for photos, labels in batches:
            loss = functional.cross_entropy(network(photos), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen += len(photos)
            if stopwatch.is_over:
                break
        scheduler.step()
        with stopwatch.paused_for_evaluation():
            top1 = _top1(network, held_out)
        stopwatch.record(top1, seen)
        if stopwatch.is_over:
            return


def _learned(network: nn.Module, *, frozen: bool) -> list[nn.Parameter]:
    if not frozen:
        return list(network.parameters())
    network.requires_grad_(False)
    classifier: nn.Module = network.get_classifier()  # type: ignore[operator]
    return list(classifier.requires_grad_(True).parameters())


def _loader(task: Task, side: str) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    photos = image_folder(task, side)
    return DataLoader(photos, task.batch_size, shuffle=side == "train", num_workers=task.workers)


@torch.no_grad()
def _top1(network: nn.Module, batches: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> float:
    network.eval()
    hits = [network(photos).argmax(1) == labels for photos, labels in batches]
    return float(torch.cat(hits).float().mean())
