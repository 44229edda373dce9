"""The training loop: one for a head on cached features and for a whole network on pixels."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from landmark_ml.networks.calibration import calibrated_loss
from landmark_ml.training.devices import align_random_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from landmark_ml.config import TrainConfig
    from landmark_ml.training.batches import Batches
    from landmark_ml.training.checkpoint import RunSaver
    from landmark_ml.training.devices import Compute
    from landmark_ml.training.optim import TrainState

    OnEpochEnd = Callable[[dict[str, float]], None]

logger = logging.getLogger(__name__)

# Served models are calibrated, so the scale of the logits must not choose the epoch.
_CRITERION = "val/calibrated_loss"


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


def fit(
    state: TrainState,
    train: Batches,
    val: Batches | None,
    config: TrainConfig,
    num_classes: int,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
) -> dict[str, float]:
    """Train in place and keep the weights of the epoch with the lowest val/calibrated_loss.

    Without `val` the last epoch's weights stay. num_classes: landmarks, which come first among the
    outputs. All of state.compute.processes call this together and end with the same weights.
    on_epoch_end gets the metrics of each epoch; an exception in it ends the training. saver: keeps
    the state of each epoch and resumes from the last one. Returns the metrics of the epoch that was
    kept. Raises TrainingError when a loss is no longer finite.
    """
    epochs, processes = state.epochs, state.compute.processes
    saves = processes.share(saver is not None)
    saved = processes.share(saver.restore() if saver is not None else None)
    done, best, best_weights = 0, {_CRITERION: math.inf, "epoch": -1.0}, {}
    if saved is None:
        align_random_state(processes)
    else:
        state.restore(saved, train)
        done, best, best_weights = saved["done"], saved["best"], saved["best_state"]
    progress = tqdm(range(done, epochs), desc=state.phase, unit="epoch", delay=2)
    for epoch in progress:
        if config.patience and epoch - best["epoch"] > config.patience:
            logger.info("%s: nothing better since epoch %.0f", state.phase, best["epoch"])
            break
        train.progress = epoch / epochs
        metrics = {"epoch": float(epoch)} | train_one_epoch(state, train, config)
        processes.average_statistics(state.model, state.averaged)
        due = (epoch + 1) % state.val_interval == 0 or epoch + 1 == epochs
        if val is not None and due:
            logits, targets = predict_logits(state.averaged, val, state.compute)
            metrics |= judge_logits(logits, targets, num_classes)
            _check_finite(metrics["val/loss"], state)
        if val is None or metrics.get(_CRITERION, math.inf) < best[_CRITERION]:
            best, best_weights = metrics, copy.deepcopy(state.averaged.state_dict())
        shown = [f"{key} {metrics[key]:.3f}" for key in metrics if key.endswith(("loss", "top1"))]
        progress.set_postfix_str(
            ", ".join([*shown, f"{metrics['train/photos_per_second']:.0f} photos/s"])
        )
        if on_epoch_end is not None:
            on_epoch_end(metrics)
        if saves:
            # All processes: each one's random numbers belong to the state.
            kept = {"done": epoch + 1, "best": best, "best_state": best_weights}
            kept |= state.saved(train)
            if saver is not None:
                saver.save(epoch, kept)
    state.model.load_state_dict(best_weights)
    return best


def train_one_epoch(state: TrainState, batches: Batches, config: TrainConfig) -> dict[str, float]:
    """One pass over the training batches.

    Returns train/loss, train/photos_per_second and learning_rate.
    """
    compute = state.compute
    state.parallel.train()
    started, photos = time.perf_counter(), 0
    losses = []
    for batch, labels in tqdm(batches, desc="  train", unit="batch", leave=False, delay=2):
        inputs, targets = compute.send(batch), compute.send(labels)
        if state.mixup is not None:
            inputs, targets = state.mixup(inputs.float(), targets)
        with compute.autocast():
            logits = state.parallel(inputs).float()
        if logits.ndim > 2:
            # Each network of an ensemble answers for itself: [N, outputs, networks].
            targets = targets.unsqueeze(-1).expand(*targets.shape, logits.shape[-1])
        loss = functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        losses.append(compute.processes.mean(loss.detach()))
        _check_finite(float(losses[-1]), state)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_grad)
        state.optimizer.step()
        state.step += 1
        state.scheduler.step_update(state.step)
        if state.ema is not None:
            state.ema.update(state.model, step=state.step)
        photos += len(inputs) * compute.processes.count
    return {
        "train/loss": float(torch.stack(losses).mean()),
        "train/photos_per_second": photos / (time.perf_counter() - started),
        "learning_rate": state.optimizer.param_groups[-1]["lr"],
    }


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

    Every process gets those of all processes.
    """
    model.eval()
    logits, targets = [], []
    for batch, labels in batches:
        with compute.autocast():
            logits.append(model(compute.send(batch)).float().cpu())
        targets.append(labels)
    gather = compute.processes.gather_rows
    return gather(torch.cat(logits)), gather(torch.cat(targets))


def _check_finite(loss: float, state: TrainState) -> None:
    if not math.isfinite(loss):
        rate = state.optimizer.param_groups[-1]["lr"]
        raise TrainingError(
            f"the loss is {loss} at step {state.step} with learning rate {rate:.3g};"
            " lower the learning rate or clip_grad"
        )
