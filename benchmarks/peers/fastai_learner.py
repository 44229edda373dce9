"""fastai: `vision_learner(...).fine_tune(...)` with its own loaders, transforms and schedule."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from fastai.vision.all import (
    Callback,
    CancelFitException,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    vision_learner,
)

if TYPE_CHECKING:
    from benchmarks.peers.contract import Stopwatch, Task


class _Record(Callback):  # type: ignore[misc]
    """Tells the accuracy of every epoch, and ends a fit when its time is over."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self.stopwatch = stopwatch
        self.pause = ExitStack()
        self.photos = 0

    def before_validate(self) -> None:
        self.pause.enter_context(self.stopwatch.paused_for_evaluation())

    def after_validate(self) -> None:
        self.pause.close()
        self.stopwatch.record(float(self.learn.recorder.metrics[0].value), self.photos)

    def after_batch(self) -> None:
        self.photos += len(self.learn.xb[0]) if self.training else 0
        if self.training and self.stopwatch.is_over:
            raise CancelFitException


def train(task: Task, stopwatch: Stopwatch) -> None:
    """Train as fastai's first tutorial does: one epoch of the head, then all layers."""
    loaders = ImageDataLoaders.from_folder(
        task.data,
        train="train",
        valid="test",
        item_tfms=Resize(256),
        batch_tfms=[
            *aug_transforms(size=task.resolution),
            Normalize.from_stats([0.5] * 3, [0.5] * 3),
        ],
        bs=task.batch_size,
        num_workers=task.workers,
    )
    learner = vision_learner(
        loaders, task.backbone, metrics=accuracy, pretrained=False, cbs=_Record(stopwatch)
    )
    # `pretrained=True` would ask a hub; these are the weights that all peers begin with.
    learner.model[0].model.load_state_dict(task.network().state_dict(), strict=False)
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(task.epochs)
        if stopwatch.is_over:
            # Cut off in the middle of an epoch: what it knows by now.
            learner.validate()
