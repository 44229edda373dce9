"""The training loop: one for a head on cached features and for a whole network on pixels."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from landmark_ml.networks.temperature import calibrated_loss
from landmark_ml.training.optim import (
    FitOptions,
    Trainer,
    create_trainer,
    restore_trainer,
    trainer_state,
)
from landmark_ml.training.seeding import align_random_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from landmark_ml.training.batches import Batches
    from landmark_ml.training.devices import Compute
    from landmark_ml.training.processes import Processes

logger = logging.getLogger(__name__)

# What is served is calibrated, so the scale of the logits must not decide.
_CRITERION = "val/calibrated_loss"


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


class EpochSaver(Protocol):
    """Keeps the state of a fit after each epoch."""

    def restore(self) -> dict[str, Any] | None:
        """State saved last, None when there is none."""

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Keep the state after an epoch."""


def fit(
    model: nn.Module,
    train: Batches,
    val: Batches | None,
    options: FitOptions,
    compute: Compute,
    on_epoch_end: Callable[[dict[str, float]], None],
    saver: EpochSaver | None = None,
) -> dict[str, float]:
    """Train in place and leave the weights of the epoch with the lowest val/calibrated_loss.

    Without `val` the last epoch's weights stay. All of compute.processes call this at once and end
    with the same weights. on_epoch_end gets the metrics of each epoch; what it raises ends the
    training. saver: keeps the state of each epoch, to go on from. Returns the metrics of the epoch
    whose weights were kept. Raises TrainingError when a loss is no longer finite.
    """
    processes = compute.processes
    trainer = create_trainer(model, options, len(train), processes)
    done, best, best_state = _begin(trainer, train, saver, processes)
    progress = tqdm(range(done, options.epochs), desc=options.name, unit="epoch", delay=2)
    for epoch in progress:
        if options.patience and epoch - best["epoch"] > options.patience:
            logger.info("%s: nothing better since epoch %.0f", options.name, best["epoch"])
            break
        train.progress = epoch / options.epochs
        metrics = {"epoch": float(epoch)} | train_one_epoch(trainer, train, options, compute)
        processes.average_statistics(trainer.model, trainer.averaged)
        if val is not None and options.validates(epoch):
            metrics |= evaluate(trainer.averaged, val, options.num_classes, compute)
            _check_finite(metrics["val/loss"], trainer)
        if val is None or metrics.get(_CRITERION, math.inf) < best[_CRITERION]:
            best, best_state = metrics, copy.deepcopy(trainer.averaged.state_dict())
        progress.set_postfix_str(_summary(metrics))
        on_epoch_end(metrics)
        if saver is not None:
            kept = {"done": epoch + 1, "best": best, "best_state": best_state}
            saver.save(epoch, kept | trainer_state(trainer, train, processes))
    model.load_state_dict(best_state)
    return best


def _begin(
    trainer: Trainer, train: Batches, saver: EpochSaver | None, processes: Processes
) -> tuple[int, dict[str, float], dict[str, Tensor]]:
    """Epochs done, metrics and weights of the best one: none yet, or those that were saved."""
    saved = processes.share(saver.restore() if saver is not None else None)
    if saved is None:
        align_random_state(processes)
        return 0, {_CRITERION: math.inf, "epoch": -1.0}, {}
    restore_trainer(trainer, train, saved, processes)
    return saved["done"], saved["best"], saved["best_state"]


def train_one_epoch(
    trainer: Trainer, batches: Batches, options: FitOptions, compute: Compute
) -> dict[str, float]:
    """One pass over the training batches.

    Returns train/loss, train/photos_per_second and learning_rate.
    """
    trainer.parallel.train()
    started, photos = time.perf_counter(), 0
    losses = []
    for batch, labels in tqdm(batches, desc="  train", unit="batch", leave=False, delay=2):
        inputs, targets = compute.send(batch), compute.send(labels)
        if trainer.mixup is not None:
            inputs, targets = trainer.mixup(inputs.float(), targets)
        with compute.autocast():
            logits = trainer.parallel(inputs)
        loss = _loss(logits.float(), targets, options.label_smoothing)
        losses.append(compute.processes.mean(loss.detach()))
        _check_finite(float(losses[-1]), trainer)
        _update(trainer, loss, options.clip_grad)
        photos += len(inputs) * compute.processes.count
    return {
        "train/loss": float(torch.stack(losses).mean()),
        "train/photos_per_second": photos / (time.perf_counter() - started),
        "learning_rate": trainer.optimizer.param_groups[-1]["lr"],
    }


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Batches, num_classes: int, compute: Compute
) -> dict[str, float]:
    """What `judge_logits` measures of all batches."""
    return judge_logits(*predict_logits(model, batches, compute), num_classes)


def judge_logits(logits: Tensor, targets: Tensor, num_classes: int) -> dict[str, float]:
    """Losses over all photos, val/top1 and val/top3 over those that show a landmark.

    logits: [N, outputs], those of the landmarks first; targets: int64 [N].
    """
    landmarks = targets < num_classes
    ranked = logits[landmarks, :num_classes].topk(min(3, num_classes), dim=1).indices
    hits = ranked == targets[landmarks, None]
    return {
        "val/loss": float(functional.cross_entropy(logits, targets)),
        _CRITERION: calibrated_loss(logits, targets),
        "val/top1": float(hits[:, 0].float().mean()),
        "val/top3": float(hits.any(dim=1).float().mean()),
    }


@torch.no_grad()
def predict_logits(model: nn.Module, batches: Batches, compute: Compute) -> tuple[Tensor, Tensor]:
    """Logits float32 [N, outputs] and targets int64 [N] of all batches, on the CPU.

    Those of every process, in every process.
    """
    model.eval()
    logits, targets = [], []
    for batch, labels in batches:
        with compute.autocast():
            logits.append(model(compute.send(batch)).float().cpu())
        targets.append(labels)
    gather = compute.processes.gather_rows
    return gather(torch.cat(logits)), gather(torch.cat(targets))


def _loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Mean over photos, and over networks where each answers for itself: [N, outputs, members]."""
    if logits.ndim > 2:
        targets = targets.unsqueeze(-1).expand(*targets.shape, logits.shape[-1])
    return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)


def _update(trainer: Trainer, loss: Tensor, clip_grad: float) -> None:
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), clip_grad)
    trainer.optimizer.step()
    trainer.step += 1
    trainer.scheduler.step_update(trainer.step)
    if trainer.ema is not None:
        trainer.ema.update(trainer.model, step=trainer.step)


def _check_finite(loss: float, trainer: Trainer) -> None:
    if not math.isfinite(loss):
        rate = trainer.optimizer.param_groups[-1]["lr"]
        raise TrainingError(
            f"the loss is {loss} at step {trainer.step} with learning rate {rate:.3g};"
            " lower the learning rate or clip_grad"
        )


def _summary(metrics: dict[str, float]) -> str:
    shown = [
        f"{name} {value:.3f}" for name, value in metrics.items() if name.endswith(("loss", "top1"))
    ]
    return ", ".join([*shown, f"{metrics['train/photos_per_second']:.0f} photos/s"])
