"""What changes while a network trains: weights, optimiser, schedule, moving average, mixing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from timm.data import Mixup
from timm.optim import Muon, param_groups_layer_decay, param_groups_weight_decay
from timm.optim.muon import get_lr_scale, zeropower_via_newtonschulz
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3

from landmark_ml.training.devices import bf16_pays, random_state, restore_random_state

if TYPE_CHECKING:
    from torch import nn

    from landmark_ml.config import TrainConfig
    from landmark_ml.training.batches import Batches
    from landmark_ml.training.devices import Compute


@dataclass
class TrainState:
    """A network in one phase of training, and everything that decides its next step.

    epochs: length of the phase; val_interval: epochs between two validations. parallel: the
    network itself, or a wrapper that averages its gradients over all processes.
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
    step: int = 0

    @property
    def averaged(self) -> nn.Module:
        """The network to evaluate: the moving average where there is one."""
        return self.model if self.ema is None else self.ema.module

    def saved(self, train: Batches) -> dict[str, Any]:
        """Everything that decides the next step, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "order": None if train.generator is None else train.generator.get_state(),
            "random": self.compute.processes.gather(random_state()),
        }

    def restore(self, saved: dict[str, Any], train: Batches) -> None:
        """Put this state, the order of the batches and all generators where they were saved."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(saved["ema"])
        # The schedule depends on the step alone; the current rate came with the optimiser.
        self.step = saved["step"]
        if train.generator is not None:
            train.generator.set_state(saved["order"])
        # The run may go on in more processes than it began with.
        restore_random_state(saved["random"][self.compute.processes.rank % len(saved["random"])])


def head_state(
    head: nn.Module, config: TrainConfig, compute: Compute, epochs: int, steps_per_epoch: int
) -> TrainState:
    """How a head starts to learn on cached features: AdamW with the head's rate and decay."""
    groups = param_groups_weight_decay(head, weight_decay=config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    scheduler = _create_scheduler(optimizer, config.warmup_epochs, epochs, steps_per_epoch)
    return TrainState("head", epochs, compute, head, head, optimizer, scheduler)


def finetune_state(
    model: nn.Module, config: TrainConfig, compute: Compute, steps_per_epoch: int
) -> TrainState:
    """How a network starts to learn on pixels; all processes get the weights of the first."""
    # Before anything copies the weights.
    parallel = compute.processes.parallel(model)
    optimizer = _create_optimizer(model, config)
    ema = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    mixup = None
    if config.mixup or config.cutmix:
        mixup = Mixup(
            mixup_alpha=config.mixup,
            cutmix_alpha=config.cutmix,
            prob=config.mix_probability,
            # The loss smooths its targets itself, mixed or not.
            label_smoothing=0.0,
            num_classes=model.classifier.out_features,  # type: ignore[union-attr]
        )
    epochs = config.finetune_epochs
    scheduler = _create_scheduler(optimizer, config.warmup_epochs, epochs, steps_per_epoch)
    return TrainState(
        "fine-tune",
        epochs,
        compute,
        model,
        parallel,
        optimizer,
        scheduler,
        ema,
        mixup,
        config.val_interval,
    )


def _create_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    network = getattr(model, "network", model)
    # Transformers name tokens and position embeddings that must not decay.
    decay: dict[str, Any] = {
        "weight_decay": config.finetune_weight_decay,
        "no_weight_decay_list": getattr(network, "no_weight_decay", set)(),
    }
    if config.layer_decay == 1.0:
        groups = param_groups_weight_decay(network, **decay)
    else:
        groups = param_groups_layer_decay(network, layer_decay=config.layer_decay, **decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.finetune_learning_rate)
    muon = Muon if bf16_pays(next(model.parameters()).device.type) else ExactMuon
    optimizer: torch.optim.Optimizer = muon(groups, lr=config.finetune_learning_rate)
    return optimizer


def _create_scheduler(
    optimizer: torch.optim.Optimizer, warmup_epochs: float, epochs: int, steps_per_epoch: int
) -> CosineLRScheduler:
    """Linear warm-up for at most half of the steps, then a cosine to a thousandth of the rate."""
    rate = optimizer.defaults["lr"]
    total = epochs * steps_per_epoch
    warmup = min(round(warmup_epochs * steps_per_epoch), total // 2)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(total - warmup, 1),
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

    # Of timm's preset "quintic", one triple for each Newton-Schulz iteration.
    COEFFICIENTS = (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step the matrices in float32 and leave everything else to timm, which uses AdamW."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None or not _is_matrix(parameter):
                    continue
                momentum = self.state[parameter].setdefault(
                    "momentum_buffer", torch.zeros_like(parameter)
                )
                momentum.lerp_(gradient, 1 - group["momentum"])
                update = zeropower_via_newtonschulz(
                    momentum.flatten(1),
                    group["ns_steps"],
                    list(self.COEFFICIENTS),
                    eps=group["eps"],
                    dtype=torch.float32,
                )
                scale = get_lr_scale(update.shape, group["adjust_lr_fn"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-group["lr"] * scale)
                # Taken care of: timm passes over what has no gradient.
                parameter.grad = None
        return super().step(closure)


def _is_matrix(parameter: torch.Tensor) -> bool:
    """Whether timm would orthogonalise a parameter: no vectors, no depthwise convolutions."""
    if parameter.ndim < 2 or 1 in parameter.shape[:2]:
        return False
    short, long = sorted(parameter.flatten(1).shape)
    return short >= 4 and long <= 128 * short
