"""The training loop, and the state it changes: weights, optimiser, schedule, moving average."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from timm.data import Mixup
from timm.optim import Muon, muon, param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional

from landmark_ml.config import TrainConfig
from landmark_ml.console import Bar
from landmark_ml.networks.export import calibrated_loss
from landmark_ml.networks.heads import CosineClassifier, Head
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.devices import (
    Compute,
    align_random_state,
    random_state,
    restore_random_state,
)

if TYPE_CHECKING:
    from landmark_ml.training.checkpoint import RunSaver


OnEpochEnd = Callable[[dict[str, float]], None]

logger = logging.getLogger(__name__)

# Served models are calibrated, so the scale of the logits must not choose the epoch.
_CRITERION = "val/calibrated_loss"
_CHECKED_STEPS = 100
_SHOWN = ("train/loss", _CRITERION, "val/top1")


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


def fit(
    state: TrainState,
    train: TensorBatches,
    val: TensorBatches | None,
    config: TrainConfig,
    num_classes: int,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
) -> dict[str, float]:
    """Train in place and keep the weights of the epoch with the lowest val/calibrated_loss.

    Those, or with config.finetune_share below 1 what lies between them and the weights it began
    with. Without `val` the last epoch counts. num_classes: landmarks, which come first among the
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
    quiet = not state.phase
    progress = Bar(range(done, epochs), state.phase, unit=" epochs", disable=quiet or None)
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
            judged = torch.tensor([metrics["val/loss"]])
            _check_finite(judged, [metrics["learning_rate"]], state.step + 1)
        if val is None or metrics.get(_CRITERION, math.inf) < best[_CRITERION]:
            best, best_weights = metrics, copy.deepcopy(state.averaged.state_dict())
        shown = [f"{key} {metrics[key]:.3f}" for key in _SHOWN if key in metrics]
        progress.set_postfix_str(", ".join(shown), refresh=False)
        if on_epoch_end is not None:
            on_epoch_end(metrics)
        if saves:
            # All processes: each one's random numbers belong to the state.
            kept = {"done": epoch + 1, "best": best, "best_state": best_weights}
            kept |= state.saved(train)
            if saver is not None:
                saver.save(epoch, kept)
    if state.started is not None:
        best_weights = part_way(state.started, best_weights, config.finetune_share)
    state.model.load_state_dict(best_weights)
    return best


def train_one_epoch(
    state: TrainState, batches: TensorBatches, config: TrainConfig
) -> dict[str, float]:
    """One pass over the training batches.

    Returns train/loss, train/photos_per_second and learning_rate.
    """
    compute, processes, scaler = state.compute, state.compute.processes, state.scaler
    state.parallel.train()
    classifier = getattr(state.model, "classifier", None)
    started, photos = time.perf_counter(), 0
    # One tensor: a small one kept from each step would leave the memory in pieces.
    losses, rates = torch.zeros(len(batches), device=compute.device), list[float]()
    quiet = not state.phase
    bar = Bar(batches, "  train", unit=" batches", leave=False, disable=quiet or None)
    for batch in bar:
        (inputs, targets), shares = batch, None
        sampled = state.model.sample(targets) if isinstance(state.model, Head) else ()
        if sampled:
            targets = torch.searchsorted(sampled[0], targets)
        if state.mixup is not None:
            # How much of each photo of the batch is in each input: [B, B] and columns of zeros.
            places = torch.arange(len(inputs), device=inputs.device)
            inputs, shares = state.mixup(inputs.float(), places)
        state.optimizer.zero_grad(set_to_none=True)
        rates.append(state.optimizer.param_groups[-1]["lr"])
        for part in torch.arange(len(inputs)).chunk(state.parts):
            some = slice(int(part[0]), int(part[-1]) + 1)
            # Gradients of all processes are averaged once, after the last part.
            whole = some.stop == len(inputs)
            with processes.keeping_gradients(state.parallel, averaged=whole):
                with compute.autocast():
                    logits = state.parallel(inputs[some], *sampled).float()
                told = targets[some]
                if shares is not None:
                    every = targets
                    if targets.ndim == 1:
                        every = functional.one_hot(targets, logits.shape[1]).float()
                    told = shares[some, : len(inputs)] @ every
                if isinstance(classifier, CosineClassifier):
                    logits = classifier.with_margin(logits, told)
                loss = functional.cross_entropy(
                    logits, told, label_smoothing=config.label_smoothing
                ) * (len(part) / len(inputs))
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            losses[len(rates) - 1] += loss.detach()
        scaler.unscale_(state.optimizer)
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_grad)
        scaler.step(state.optimizer)
        scaler.update()
        state.step += 1
        state.scheduler.step_update(state.step)
        if state.ema is not None:
            state.ema.update(state.model, step=state.step)
        photos += len(inputs) * processes.count
        # Reading a loss waits for the GPU: not after every step.
        if len(rates) % _CHECKED_STEPS == 0:
            last = processes.mean(losses[len(rates) - _CHECKED_STEPS : len(rates)])
            _check_finite(last, rates[-_CHECKED_STEPS:], state.step)
    found = processes.mean(losses)
    _check_finite(found, rates, state.step)
    return {
        "train/loss": float(found.mean()),
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
def predict_logits(
    model: nn.Module,
    batches: TensorBatches,
    compute: Compute,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits float32 [N, outputs] and targets int64 [N] of all batches, on the CPU.

    forward: another method of the network, whose results are given back instead. Every process gets
    those of all processes.
    """
    model.eval()
    logits, targets = [], []
    for inputs, labels in batches:
        with compute.autocast():
            logits.append((forward or model)(inputs).float())
        targets.append(labels)
    gather = compute.processes.gather_rows
    return gather(torch.cat(logits).cpu()), gather(torch.cat(targets).cpu())


def _check_finite(losses: Tensor, rates: Sequence[float], steps: int) -> None:
    """Raise TrainingError for the first that is no number of the losses of the last of steps."""
    for step, (loss, rate) in enumerate(
        zip(losses.tolist(), rates, strict=True), steps - len(rates)
    ):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step} with learning rate {rate:.3g};"
                " lower the learning rate or clip_grad"
            )


@dataclass
class TrainState:
    """A network in one phase of training, and everything that decides its next step.

    phase: title of the progress bar, empty for none. epochs: length of the phase; val_interval:
    epochs between two validations. parallel: the network itself, or a wrapper that averages its
    gradients over all processes. parts: of a batch, whose gradients are added up. started: the
    weights before training, where those to keep lie between them and the trained ones.
    """

    phase: str
    epochs: int
    compute: Compute
    model: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: CosineLRScheduler
    ema: ModelEmaV3 | None = None
    mixup: Mixup | None = None
    val_interval: int = 1
    parts: int = 1
    started: dict[str, Tensor] | None = None
    step: int = 0

    def __post_init__(self) -> None:
        # Small gradients would be 0 in fp16: the loss is scaled up, and the gradients back.
        self.scaler = torch.amp.GradScaler(
            "cuda" if self.compute.device.type == "cuda" else "cpu", enabled=self.compute.fp16
        )

    @property
    def averaged(self) -> nn.Module:
        """The network to evaluate: the moving average where there is one."""
        return self.model if self.ema is None else self.ema.module

    def saved(self, train: TensorBatches) -> dict[str, Any]:
        """Everything that decides the next step, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "started": self.started,
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "order": None if train.generator is None else train.generator.get_state(),
            "random": self.compute.processes.gather(random_state()),
        }

    def restore(self, saved: dict[str, Any], train: TensorBatches) -> None:
        """Put this state, the order of the batches and all generators where they were saved."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(saved["ema"])
        # Those of the head: a resumed run does not train it again. An older version saved none.
        self.started = saved.get("started")
        if self.compute.fp16:
            self.scaler.load_state_dict(saved["scaler"])
        # The schedule depends on the step alone; the current rate came with the optimiser.
        self.step = saved["step"]
        if train.generator is not None:
            train.generator.set_state(saved["order"])
        # The run may go on in more processes than it began with.
        restore_random_state(saved["random"][self.compute.processes.rank % len(saved["random"])])


def head_state(
    head: nn.Module,
    config: TrainConfig,
    compute: Compute,
    epochs: int,
    steps_per_epoch: int,
    phase: str = "head",
) -> TrainState:
    """How a head starts to learn on cached features: AdamW with the head's rate and decay."""
    groups = param_groups_weight_decay(head, weight_decay=config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    scheduler = _create_scheduler(optimizer, config.warmup_epochs, epochs, steps_per_epoch)
    return TrainState(phase, epochs, compute, head, head, optimizer, scheduler)


def finetune_state(
    model: nn.Module, config: TrainConfig, compute: Compute, steps_per_epoch: int
) -> TrainState:
    """How a network starts to learn on pixels; all processes get the weights of the first."""
    # Before anything copies the weights.
    parallel = compute.processes.parallel(model)
    network = getattr(model, "network", model)
    # Transformers name tokens and position embeddings that must not decay.
    undecayed: set[str] = getattr(network, "no_weight_decay", set)()
    decay = {"weight_decay": config.finetune_weight_decay, "no_weight_decay_list": undecayed}
    if config.layer_decay == 1.0:
        groups = param_groups_weight_decay(network, **decay)
    else:
        groups = param_groups_layer_decay(network, layer_decay=config.layer_decay, **decay)
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    if config.optimizer == "muon":
        kind = Muon if compute.bf16 else ExactMuon
    # Fused, a step in fp16 need not wait for the GPU to say whether its gradients are finite.
    fused = kind is torch.optim.AdamW and compute.device.type == "cuda"
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizer = kind(groups, lr=config.finetune_learning_rate, **options)  # type: ignore[call-arg]
    if config.torch_compile:
        parallel = torch.compile(parallel)  # type: ignore[assignment]
    ema = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    mixup = None
    if config.mixup or config.cutmix:
        mixup = Mixup(
            mixup_alpha=config.mixup,
            cutmix_alpha=config.cutmix,
            prob=config.mix_probability,
            # The loss smooths its targets itself, mixed or not.
            label_smoothing=0.0,
            # It mixes places in the batch: targets may be probabilities, which it does not take.
            num_classes=config.finetune_batch_size,
        )
    epochs = config.finetune_epochs
    scheduler = _create_scheduler(optimizer, config.warmup_epochs, epochs, steps_per_epoch)
    state = TrainState("fine-tune", epochs, compute, model, parallel, optimizer, scheduler)
    state.ema, state.mixup, state.val_interval = ema, mixup, config.val_interval
    state.parts = config.batch_parts
    if config.finetune_share < 1:
        state.started = copy.deepcopy(model.state_dict())
    return state


def part_way(
    started: dict[str, Tensor], trained: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights at this share of the way from one state to another, statistics of batch norms too.

    Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022.
    """
    # Those of a checkpoint are on the CPU, wherever the training goes on.
    return {
        name: started[name].to(value).lerp(value, share) if value.is_floating_point() else value
        for name, value in trained.items()
    }


def _create_scheduler(
    optimizer: torch.optim.Optimizer, warmup_epochs: float, epochs: int, steps_per_epoch: int
) -> CosineLRScheduler:
    """Linear warm-up for at most half of the steps, then a cosine to a thousandth of the rate."""
    rate = optimizer.defaults["lr"]
    total = epochs * steps_per_epoch
    warmup = min(round(warmup_epochs * steps_per_epoch), total // 2)
    return CosineLRScheduler(
        optimizer,
        # timm warns of a cosine of one step; of two, that step has the same rate.
        t_initial=max(total - warmup, 2),
        lr_min=rate * 1e-3,
        warmup_t=warmup,
        warmup_lr_init=rate * 1e-2,
        warmup_prefix=True,
        t_in_epochs=False,
    )


class ExactMuon(Muon):  # type: ignore[misc]
    """Muon that orthogonalises in float32: timm's does it in bfloat16, slow on some CPUs.

    Without bfloat16 instructions a step of LandmarkCNN took 3.9 s, beside 0.6 s for the forward and
    backward pass of its batch. Source: Jordan et al., Muon, 2024; steps are scaled like AdamW's
    (Liu et al., Muon is scalable for LLM training, 2025), so learning rates mean the same.
    """

    def step(self, closure: Any = None) -> Any:
        """A step of timm's, whose precision is no option."""
        in_float32 = partial(muon.zeropower_via_newtonschulz, dtype=torch.float32)
        with patch.object(muon, "zeropower_via_newtonschulz", in_float32):
            return super().step(closure)
