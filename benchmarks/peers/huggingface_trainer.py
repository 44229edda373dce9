"""Hugging Face: `Trainer` on a timm network behind `TimmWrapperForImageClassification`."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.datasets import ImageFolder
from transformers import (
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.peers.folders import image_folder

if TYPE_CHECKING:
    from benchmarks.peers.contract import Stopwatch, Task


class _Record(TrainerCallback):  # type: ignore[misc]
    """Judges the network after every epoch, and ends the training when its time is over."""

    def __init__(self, stopwatch: Stopwatch, held_out: ImageFolder) -> None:
        self.stopwatch = stopwatch
        self.held_out = held_out
        self.trainer: Trainer | None = None

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = self.stopwatch.is_over

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer is None:
            raise ValueError("the callback has no trainer to judge with")
        with self.stopwatch.paused_for_evaluation():
            found = self.trainer.predict(self.held_out)
        top1 = float((found.predictions.argmax(1) == found.label_ids).mean())
        self.stopwatch.record(top1, state.global_step * args.train_batch_size)
        control.should_training_stop = self.stopwatch.is_over


def train(task: Task, stopwatch: Stopwatch) -> None:
    """Train all layers as the image classification guide of transformers does."""
    learned, held_out = image_folder(task, "train"), image_folder(task, "test")
    config = TimmWrapperConfig(architecture=task.backbone, num_labels=task.num_classes)
    model = TimmWrapperForImageClassification(config)
    model.timm_model.load_state_dict(task.network().state_dict())
    record = _Record(stopwatch, held_out)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            learning_rate=5e-4,
            warmup_steps=0.1,
            num_train_epochs=task.epochs,
            per_device_train_batch_size=task.batch_size,
            per_device_eval_batch_size=task.batch_size,
            dataloader_num_workers=task.workers,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        record.trainer = Trainer(
            model, arguments, _collate, train_dataset=learned, callbacks=[record]
        )
        record.trainer.train()


def _collate(rows: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    photos, labels = zip(*rows, strict=True)
    return {"pixel_values": torch.stack(photos), "labels": torch.from_numpy(np.array(labels))}
