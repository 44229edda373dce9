"""The training loop: one for a head on cached features and for a whole network on pixels."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from timm.data import Mixup
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch.nn import functional
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from landmark_ml.batches import Batches
    from landmark_ml.devices import Compute

logger = logging.getLogger(__name__)


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


@dataclass(frozen=True)
class FitOptions:
    """How a phase of training runs; num_classes counts landmarks, outputs may be one more."""

    name: str
    num_classes: int
    epochs: int
    learning_rate: float
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema_decay: float = 0.0
    clip_grad: float = 1.0
    patience: int = 0


@dataclass
class Trainer:
    """What changes while a network trains."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: CosineLRScheduler
    ema: ModelEmaV3 | None
    mixup: Mixup | None
    step: int = 0

    @property
    def averaged(self) -> nn.Module:
        """The network to evaluate: the moving average where there is one."""
        return self.model if self.ema is None else self.ema.module


def fit(
    model: nn.Module,
    train: Batches,
    val: Batches | None,
    options: FitOptions,
    compute: Compute,
    on_epoch_end: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train in place and leave the weights of the epoch with the lowest val/loss.

    Without `val` the last epoch's weights stay. on_epoch_end gets the metrics of each epoch; what
    it raises ends the training. Returns the metrics of the epoch whose weights were kept. Raises
    TrainingError when a loss is no longer finite.
    """
    trainer = create_trainer(model, options, len(train))
    best: dict[str, float] = {"val/loss": math.inf}
    best_state: dict[str, Tensor] = {}
    progress = tqdm(range(options.epochs), desc=options.name, unit="epoch", leave=True)
    for epoch in progress:
        metrics = {"epoch": float(epoch)}
        metrics |= train_one_epoch(trainer, train, options, compute)
        if val is not None:
            metrics |= evaluate(trainer.averaged, val, options.num_classes, compute)
            _check_finite(metrics["val/loss"], trainer)
        if val is None or metrics["val/loss"] < best["val/loss"]:
            best, best_state = metrics, copy.deepcopy(trainer.averaged.state_dict())
        progress.set_postfix_str(_summary(metrics))
        on_epoch_end(metrics)
        if options.patience and epoch - best["epoch"] >= options.patience:
            logger.info("%s: no better val/loss since epoch %.0f", options.name, best["epoch"])
            break
    model.load_state_dict(best_state)
    return best


def create_trainer(model: nn.Module, options: FitOptions, steps_per_epoch: int) -> Trainer:
    """Optimiser, schedule, average and mixing as the options say."""
    optimizer = torch.optim.AdamW(_parameter_groups(model, options), lr=options.learning_rate)
    total = options.epochs * steps_per_epoch
    warmup = min(round(options.warmup_epochs * steps_per_epoch), total // 2)
    scheduler = CosineLRScheduler(
        optimizer,
        t_initial=max(total - warmup, 1),
        lr_min=options.learning_rate * 1e-3,
        warmup_t=warmup,
        warmup_lr_init=options.learning_rate * 1e-2,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    ema = ModelEmaV3(model, decay=options.ema_decay, use_warmup=True) if options.ema_decay else None
    return Trainer(model, optimizer, scheduler, ema, _create_mixup(model, options))


def train_one_epoch(
    trainer: Trainer, batches: Batches, options: FitOptions, compute: Compute
) -> dict[str, float]:
    """One pass over the training batches.

    Returns train/loss, train/photos_per_second and learning_rate.
    """
    trainer.model.train()
    started, photos = time.perf_counter(), 0
    losses = []
    for batch, labels in tqdm(batches, desc="  train", unit="batch", leave=False, delay=2):
        inputs, targets = compute.send(batch), compute.send(labels)
        if trainer.mixup is not None:
            inputs, targets = trainer.mixup(inputs.float(), targets)
        with compute.autocast():
            logits = trainer.model(inputs)
        loss = functional.cross_entropy(
            logits.float(), targets, label_smoothing=options.label_smoothing
        )
        _check_finite(float(loss.detach()), trainer)
        _update(trainer, loss, options.clip_grad)
        losses.append(loss.detach())
        photos += len(inputs)
    return {
        "train/loss": float(torch.stack(losses).mean()),
        "train/photos_per_second": photos / (time.perf_counter() - started),
        "learning_rate": trainer.optimizer.param_groups[-1]["lr"],
    }


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Batches, num_classes: int, compute: Compute
) -> dict[str, float]:
    """val/loss over all photos, val/top1 and val/top3 over those that show a landmark."""
    logits, targets = predict_logits(model, batches, compute)
    landmarks = targets < num_classes
    ranked = logits[landmarks, :num_classes].topk(min(3, num_classes), dim=1).indices
    hits = ranked == targets[landmarks, None]
    return {
        "val/loss": float(functional.cross_entropy(logits, targets)),
        "val/top1": float(hits[:, 0].float().mean()),
        "val/top3": float(hits.any(dim=1).float().mean()),
    }


@torch.no_grad()
def predict_logits(model: nn.Module, batches: Batches, compute: Compute) -> tuple[Tensor, Tensor]:
    """Logits float32 [N, outputs] and targets int64 [N] of all batches, on the CPU."""
    model.eval()
    logits, targets = [], []
    for batch, labels in batches:
        with compute.autocast():
            logits.append(model(compute.send(batch)).float().cpu())
        targets.append(labels)
    return torch.cat(logits), torch.cat(targets)


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


def _parameter_groups(model: nn.Module, options: FitOptions) -> list[dict[str, Any]]:
    network = getattr(model, "network", None)
    if network is None or options.layer_decay == 1.0:
        return list(param_groups_weight_decay(model, weight_decay=options.weight_decay))
    return list(
        param_groups_layer_decay(
            network, weight_decay=options.weight_decay, layer_decay=options.layer_decay
        )
    )


def _create_mixup(model: nn.Module, options: FitOptions) -> Mixup | None:
    if not (options.mixup or options.cutmix):
        return None
    return Mixup(
        mixup_alpha=options.mixup,
        cutmix_alpha=options.cutmix,
        # Smoothing is the loss's own, with and without mixing.
        label_smoothing=0.0,
        num_classes=model.classifier.out_features,  # type: ignore[union-attr]
    )


def _summary(metrics: dict[str, float]) -> str:
    shown = [
        f"{name} {value:.3f}" for name, value in metrics.items() if name.endswith(("loss", "top1"))
    ]
    return ", ".join([*shown, f"{metrics['train/photos_per_second']:.0f} photos/s"])
