"""The training loop: it learns, keeps the best epoch, repeats by seed and fails loudly."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from timm.optim import Muon
from torch import Tensor, nn

from landmark_ml.config import TrainConfig
from landmark_ml.networks import heads
from landmark_ml.networks.create import create_model
from landmark_ml.networks.heads import Head
from landmark_ml.training.batches import Augmentation, TensorBatches
from landmark_ml.training.loop import (
    ExactMuon,
    TrainingError,
    finetune_state,
    fit,
    head_state,
    judge_logits,
    predict_logits,
    train_one_epoch,
)
from tests.tiny_networks import (
    CPU,
    SIDE,
    fit_on_pixels,
    random_pixels,
    small_config,
    tiny_model,
)

CONFIG = small_config(finetune_epochs=6, finetune_learning_rate=0.05)


def clusters(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three separable clusters of features [N, 5] and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    features = 4 * torch.eye(5)[labels] + 0.3 * torch.randn(count, 5, generator=generator)
    return features, labels


def shuffled(features: Tensor, labels: Tensor, seed: int = 0) -> TensorBatches:
    return TensorBatches(features, labels, 16, torch.Generator().manual_seed(seed))


def in_order(features: Tensor, labels: Tensor) -> TensorBatches:
    return TensorBatches(features, labels, 16)


def contrary(count: int) -> TensorBatches:
    """Validation photos under the wrong labels: the better the fit, the worse their loss."""
    features, labels = clusters(count, seed=9)
    return in_order(features, (labels + 1) % 3)


def new_head(drop_rate: float = 0.0) -> Head:
    return Head(clusters(48)[0], 3, drop_rate)


def fit_head(
    config: TrainConfig, val: TensorBatches | None, head: Head | None = None
) -> tuple[Head, dict[str, float], list[dict[str, float]]]:
    head, rows = head or new_head(), list[dict[str, float]]()
    kept = fit_on_pixels(head, shuffled(*clusters(48)), val, config, rows.append)
    return head, kept, rows


def test_a_separable_problem_is_learnt() -> None:
    _, kept, rows = fit_head(CONFIG, in_order(*clusters(30, seed=1)))
    assert kept["val/top1"] == 1.0
    assert kept["val/loss"] < 0.5 < rows[0]["train/loss"]
    losses = [row["val/calibrated_loss"] for row in rows]
    assert kept["val/calibrated_loss"] == min(losses)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert all(row["train/photos_per_second"] > 0 for row in rows)


def test_a_part_of_many_landmarks_in_each_step_teaches_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "_SAMPLED", 6)
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(480) % 40
    centres = torch.randn(40, 16, generator=chance)
    features = 3 * centres[labels] + torch.randn(480, 16, generator=chance)
    head = Head(features, 40, 0.0, chance, labels)
    # It would start at the means, with nothing left to learn.
    with torch.no_grad():
        for weight in head.parameters():
            weight.normal_(generator=chance)
    before = float((head.logits(features).argmax(dim=1) == labels).float().mean())
    batches = TensorBatches(features, labels, 16, chance)
    config = replace(CONFIG, epochs=6, learning_rate=0.02)
    state = head_state(head, config, CPU, config.epochs, len(batches), "")
    kept = fit(state, batches, in_order(features, labels), config, 40)
    assert before < 0.2
    assert kept["val/top1"] > 0.95


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    head, states = new_head(), list[dict[str, Tensor]]()

    def keep_state(_: dict[str, float]) -> None:
        states.append(copy.deepcopy(head.state_dict()))

    train = shuffled(*clusters(48))
    kept = fit_on_pixels(head, train, contrary(30), CONFIG, keep_state)
    assert kept["epoch"] == 0
    assert torch.equal(head.classifier.weight, states[0]["classifier.weight"])
    assert not torch.equal(head.classifier.weight, states[-1]["classifier.weight"])


def test_without_validation_the_last_weights_stay() -> None:
    head, states = new_head(), list[Tensor]()
    train = shuffled(*clusters(48))
    kept = fit_on_pixels(
        head, train, None, CONFIG, lambda _: states.append(head.classifier.weight.clone())
    )
    assert kept["epoch"] == 5
    assert "val/loss" not in kept
    assert torch.equal(head.classifier.weight, states[-1])


def test_patience_stops_after_epochs_without_a_better_loss() -> None:
    _, _, stopped = fit_head(replace(CONFIG, patience=2), contrary(30))
    assert [row["epoch"] for row in stopped] == [0, 1, 2]
    _, _, whole = fit_head(replace(CONFIG, patience=2), in_order(*clusters(30, seed=1)))
    assert len(whole) == 6


def test_only_every_few_epochs_and_the_last_are_validated() -> None:
    config = replace(CONFIG, val_interval=4)
    _, kept, rows = fit_head(config, in_order(*clusters(30, seed=1)))
    assert [row["epoch"] for row in rows if "val/top1" in row] == [3, 5]
    assert kept["epoch"] == 5
    assert [row["epoch"] for row in rows if "train/loss" in row] == [0, 1, 2, 3, 4, 5]


def test_of_few_validated_epochs_the_weights_of_the_best_are_kept() -> None:
    head, states = new_head(), list[Tensor]()
    config = replace(CONFIG, val_interval=3)
    kept = fit_on_pixels(
        head,
        shuffled(*clusters(48)),
        contrary(30),
        config,
        lambda _: states.append(head.classifier.weight.detach().clone()),
    )
    assert kept["epoch"] == 2
    assert torch.equal(head.classifier.weight, states[2])


def without_speed(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if "per_second" not in k} for row in rows]


def test_the_same_seed_gives_the_same_metrics_to_the_last_bit() -> None:
    config = replace(CONFIG, finetune_epochs=2, mixup=0.4, label_smoothing=0.1, ema_decay=0.9)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        _, _, rows = fit_head(config, in_order(*clusters(30, seed=1)), new_head(drop_rate=0.5))
        runs.append(without_speed(rows))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    "path",
    [
        {},
        {"label_smoothing": 0.1},
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
        {"ema_decay": 0.9},
        {"layer_decay": 0.5, "ema_decay": 0.5, "mixup": 0.2},
    ],
    ids=str,
)
def test_every_way_of_training_moves_every_parameter(path: dict[str, float]) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    model = tiny_model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    pixels = torch.randint(0, 256, (12, 3, SIDE, SIDE), dtype=torch.uint8)
    batches = shuffled(pixels, torch.arange(12) % 3)
    changes: dict[str, Any] = path
    config = replace(CONFIG, finetune_epochs=2, finetune_learning_rate=0.01, **changes)
    kept = fit_on_pixels(model, batches, in_order(pixels, torch.arange(12) % 3), config)
    assert math.isfinite(kept["val/loss"])
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == []


@pytest.mark.parametrize("mixed", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_the_gradients_of_the_parts_of_a_batch_are_those_of_the_batch(
    mixed: dict[str, Any],
) -> None:
    trained = []
    for parts in (1, 3):
        np.random.seed(0)
        torch.manual_seed(0)
        linear = nn.Linear(3 * SIDE * SIDE, 3)
        pixels = random_pixels(20).permute(0, 3, 1, 2) / 255
        config = replace(CONFIG, finetune_learning_rate=0.01, batch_parts=parts, **mixed)
        batches = shuffled(pixels, torch.arange(20) % 3)
        fit_on_pixels(nn.Sequential(nn.Flatten(), linear), batches, None, config)
        trained.append(linear.weight.detach())
    assert torch.allclose(trained[0], trained[1], atol=1e-5)


def test_no_step_waits_for_the_device() -> None:
    """A meta tensor has no values: reading one fails, and here nothing does before the last."""
    on_meta = replace(CPU, device=torch.device("meta"))
    config = replace(CONFIG, mixup=0.4, cutmix=1.0, label_smoothing=0.1)
    pixels = torch.randint(0, 256, (24, 3, SIDE + 4, SIDE + 4), dtype=torch.uint8)
    order, augment = torch.Generator().manual_seed(0), Augmentation(SIDE, erasing=0.5)
    batches = TensorBatches(
        pixels, torch.arange(24) % 3, 4, order, augment, torch.ones(24), compute=on_meta
    )
    state = finetune_state(tiny_model().to("meta"), config, on_meta, len(batches))
    with pytest.raises(RuntimeError, match="meta tensor"):
        train_one_epoch(state, batches, config)
    assert state.step == len(batches) == 6


def test_a_network_is_compiled_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def compile_once(model: nn.Module) -> nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_once)
    for asked in (False, True):
        fit_head(replace(CONFIG, finetune_epochs=1, torch_compile=asked), None)
    assert [type(model) for model in compiled] == [Head]


def test_mixing_leaves_the_stored_photos_alone() -> None:
    features, labels = clusters(48)
    stored = features.clone()
    config = replace(CONFIG, finetune_epochs=1, mixup=0.5)
    fit_on_pixels(new_head(), shuffled(stored, labels), None, config)
    assert torch.equal(stored, features)


def test_the_average_lags_behind_and_is_what_is_kept() -> None:
    plain, averaged = new_head(), new_head()
    train = clusters(48)
    config = replace(CONFIG, finetune_epochs=2)
    fit_on_pixels(plain, shuffled(*train), None, config)
    fit_on_pixels(averaged, shuffled(*train), None, replace(config, ema_decay=0.99))
    norms = [head.classifier.weight.detach().norm().item() for head in (averaged, plain)]
    assert 0 < norms[0] < norms[1]


def test_the_epoch_reports_the_rate() -> None:
    _, _, rows = fit_head(replace(CONFIG, warmup_epochs=0.0), None)
    rates = [row["learning_rate"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.05 * 1e-3)


def test_a_loss_that_is_not_a_number_names_step_and_rate() -> None:
    config = replace(CONFIG, finetune_learning_rate=0.25, warmup_epochs=0)
    features, labels = clusters(48)
    features[-1] = math.nan
    with pytest.raises(TrainingError, match=r"loss is nan at step 2 with learning rate 0\.2\d*;"):
        fit_on_pixels(new_head(), in_order(features, labels), None, config)


def test_a_validation_loss_that_is_not_a_number_ends_the_training() -> None:
    features, labels = clusters(6)
    val = in_order(torch.full_like(features, math.inf), labels)
    with pytest.raises(TrainingError, match="step 3"):
        fit_head(CONFIG, val)


class StopEarlyError(Exception):
    """Raised by the epoch hook."""


def test_what_the_epoch_hook_raises_ends_the_training() -> None:
    seen: list[float] = []

    def stop(metrics: dict[str, float]) -> None:
        seen.append(metrics["epoch"])
        if len(seen) == 2:
            raise StopEarlyError

    with pytest.raises(StopEarlyError):
        fit_on_pixels(new_head(), shuffled(*clusters(48)), None, CONFIG, stop)
    assert seen == [0, 1]


class Echo(nn.Module):
    """Answers with its inputs as logits."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def test_accuracy_counts_landmarks_only_and_loss_counts_all() -> None:
    # Two landmarks and a background output; the last two photos show no landmark.
    logits = torch.tensor([[5.0, 0, 9], [0, 5, 0], [5, 0, 0], [9, 0, 0], [0, 0, 9]])
    targets = torch.tensor([0, 1, 1, 2, 2])
    found = judge_logits(*predict_logits(Echo(), in_order(logits, targets), CPU), 2)
    assert found["val/top1"] == pytest.approx(2 / 3)
    assert found["val/top3"] == 1.0
    expected = -logits.log_softmax(dim=1)[torch.arange(5), targets].mean()
    assert found["val/loss"] == pytest.approx(float(expected))


def test_the_scale_of_the_logits_does_not_decide_between_epochs() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    logits = torch.eye(3)[targets] + torch.randn(60, 3, generator=generator)
    losses = [judge_logits(logits * scale, targets, 3) for scale in (0.2, 1.0, 5.0)]
    assert losses[2]["val/loss"] > 1.5 * losses[1]["val/loss"]
    calibrated = [row["val/calibrated_loss"] for row in losses]
    assert calibrated == pytest.approx([calibrated[0]] * 3, rel=1e-3)
    assert calibrated[0] <= min(row["val/loss"] for row in losses)


def rates_by_parameter(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: rates[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
def test_layer_decay_gives_smaller_rates_to_earlier_layers(warmup_epochs: float) -> None:
    model = create_model(small_config(), 3)
    config = replace(
        CONFIG, layer_decay=0.5, warmup_epochs=warmup_epochs, finetune_learning_rate=0.1
    )
    state = finetune_state(model, config, CPU, 4)
    for step in range(2):
        state.scheduler.step_update(step)
        rates = rates_by_parameter(model, state.optimizer)
        stem, head = (
            rates[f"network.{name}.weight"] for name in ("networks.0.conv_stem", "classifier")
        )
        blocks = [rate for name, rate in rates.items() if ".blocks." in name]
        assert stem < min(blocks) < max(blocks) < head
        assert min(blocks) == pytest.approx(stem * 2)


def test_without_layer_decay_all_layers_share_the_rate() -> None:
    model = tiny_model()
    state = finetune_state(model, replace(CONFIG, warmup_epochs=0), CPU, 4)
    assert set(rates_by_parameter(model, state.optimizer).values()) == {0.05}


def test_only_weights_decay() -> None:
    state = finetune_state(tiny_model(), replace(CONFIG, finetune_weight_decay=0.3), CPU, 4)
    decays = {p.ndim: g["weight_decay"] for g in state.optimizer.param_groups for p in g["params"]}
    assert decays == {4: 0.3, 2: 0.3, 1: 0.0}


def scheduled_rates(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    state = finetune_state(tiny_model(), config, CPU, steps_per_epoch)
    rates = [state.optimizer.param_groups[0]["lr"]]
    for step in range(1, config.finetune_epochs * steps_per_epoch + 1):
        state.scheduler.step_update(step)
        rates.append(state.optimizer.param_groups[0]["lr"])
    return rates


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine() -> None:
    config = replace(CONFIG, finetune_epochs=4, finetune_learning_rate=1.0, warmup_epochs=1.0)
    rates = scheduled_rates(config, 5)
    warmup = [0.01 + 0.99 * step / 5 for step in range(5)]
    cosine = [0.001 + 0.5 * (1 - 0.001) * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates == pytest.approx([*warmup, *cosine, 0.001])


@pytest.mark.parametrize("steps", [1, 2])
def test_a_schedule_of_a_step_or_two_warns_of_nothing(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, finetune_epochs=1, finetune_learning_rate=1.0, warmup_epochs=1)
    rates = scheduled_rates(config, steps)
    assert rates[steps - 1] == pytest.approx(1.0)
    assert not caplog.records


def test_warm_up_takes_at_most_half_of_a_short_training() -> None:
    rates = scheduled_rates(
        replace(CONFIG, finetune_epochs=1, finetune_learning_rate=1.0, warmup_epochs=5), 4
    )
    assert rates.index(max(rates)) == 2
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize(("bf16", "expected"), [(True, Muon), (False, ExactMuon)])
def test_muon_computes_in_the_precision_of_the_training(bf16: bool, expected: type) -> None:
    compute = replace(CPU, bf16=bf16)
    state = finetune_state(tiny_model(), replace(CONFIG, optimizer="muon"), compute, 4)
    assert type(state.optimizer) is expected


def stepped(network: nn.Module, optimizer: type[torch.optim.Optimizer]) -> torch.Tensor:
    network = copy.deepcopy(network)
    torch.manual_seed(1)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer(network.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    return next(network.parameters()).detach()


def test_a_step_is_that_of_timm_but_for_rounding() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 8, 3)
    before = next(network.parameters()).detach()
    rounded, exact = stepped(network, Muon), stepped(network, ExactMuon)
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, atol=0.02 * float((exact - before).abs().max()))
