"""What a network trains with: optimiser, schedule, moving average, mixing, and all their state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from timm.data import Mixup
from timm.optim import Muon, param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3

from landmark_ml.training.devices import bf16_pays
from landmark_ml.training.exact_muon import ExactMuon
from landmark_ml.training.processes import ALONE
from landmark_ml.training.seeding import random_state, restore_random_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from landmark_ml.training.batches import Batches
    from landmark_ml.training.processes import Processes


@dataclass(frozen=True)
class FitOptions:
    """How a phase of training runs; num_classes counts landmarks, outputs may be one more."""

    name: str
    num_classes: int
    epochs: int
    learning_rate: float
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    optimizer: str = "adamw"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    ema_decay: float = 0.0
    clip_grad: float = 1.0
    patience: int = 0
    val_interval: int = 1

    def validates(self, epoch: int) -> bool:
        """Whether the network is measured on validation photos after this epoch, from 0 on."""
        return (epoch + 1) % self.val_interval == 0 or epoch + 1 == self.epochs


@dataclass
class Trainer:
    """What changes while a network trains.

    parallel: the network itself, or around it what averages its gradients over all processes.
    """

    model: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: CosineLRScheduler
    ema: ModelEmaV3 | None
    mixup: Mixup | None
    step: int = 0

    @property
    def averaged(self) -> nn.Module:
        """The network to evaluate: the moving average where there is one."""
        return self.model if self.ema is None else self.ema.module


def create_trainer(
    model: nn.Module, options: FitOptions, steps_per_epoch: int, processes: Processes = ALONE
) -> Trainer:
    """Optimiser, schedule, average and mixing as the options say; in all processes the same."""
    # First of all: it gives every process the weights that the others then start from.
    parallel = processes.parallel(model)
    device = next(model.parameters()).device.type
    optimizer = _optimizer_class(options.optimizer, device)(
        _parameter_groups(model, options), lr=options.learning_rate
    )
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
    return Trainer(model, parallel, optimizer, scheduler, ema, _create_mixup(model, options))


def trainer_state(trainer: Trainer, train: Batches, processes: Processes = ALONE) -> dict[str, Any]:
    """Everything that decides the next step, as tensors and plain values."""
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "ema": None if trainer.ema is None else trainer.ema.state_dict(),
        "step": trainer.step,
        "order": None if train.generator is None else train.generator.get_state(),
        "random": processes.gather(random_state()),
    }


def restore_trainer(
    trainer: Trainer, train: Batches, state: dict[str, Any], processes: Processes = ALONE
) -> None:
    """Put a trainer and its batches where `trainer_state` found them."""
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.ema is not None:
        trainer.ema.load_state_dict(state["ema"])
    # The schedule is a function of the step alone; the rate it last set came with the optimiser.
    trainer.step = state["step"]
    if train.generator is not None:
        train.generator.set_state(state["order"])
    # The run may go on in more processes than it began with.
    restore_random_state(state["random"][processes.rank % len(state["random"])])


def _optimizer_class(name: str, device: str) -> Callable[..., torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) as in timm scales its steps like AdamW's: rates mean the same."""
    if name == "adamw":
        return torch.optim.AdamW
    chosen: type[Muon] = Muon if bf16_pays(device) else ExactMuon
    return chosen


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
        prob=options.mix_probability,
        # Smoothing is the loss's own, with and without mixing.
        label_smoothing=0.0,
        num_classes=model.classifier.out_features,  # type: ignore[union-attr]
    )
