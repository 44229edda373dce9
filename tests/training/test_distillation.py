"""A teacher's answers as targets, and weights part of the way to the fine-tuned ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from experiments.recipes import distill
from landmark_ml.config import TrainConfig
from landmark_ml.data import Dataset, Photo
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.training import phases
from landmark_ml.training.batches import TensorBatches, num_outputs, photos_of, targets_of
from landmark_ml.training.cache import StoredRows
from landmark_ml.training.devices import Compute
from landmark_ml.training.loop import part_way
from landmark_ml.training.phases import ask_teacher, fit_head
from landmark_ml.training.run import train_network
from tests.colour_photos import colour_dataset
from tests.tiny_networks import CPU, fit_on_pixels, lay_traced, small_config, stored, tiny_model

CONFIG = TrainConfig(teacher="test_efficientnet", teacher_resolution=32)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return colour_dataset(tmp_path / "photos", distractors=True)


@pytest.fixture(autouse=True)
def _any_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher of random weights: what it answers comes from the features of each test."""
    monkeypatch.setattr(
        "landmark_ml.training.phases.create_model",
        lambda config, outputs: create_model(
            replace(config, weights="random", finetune_epochs=1), outputs
        ),
    )


def colours(
    _model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, _compute: Compute
) -> StoredRows:
    """Features of a network that sees the colour a file is named after: [N, 4]."""
    assert config.resolution == CONFIG.teacher_resolution
    seen = [int(photo.path.stem.rpartition("-")[0]) for photo in photos]
    noise = torch.randn(len(photos), 4, generator=torch.Generator().manual_seed(0)) / 20
    return stored(torch.eye(4)[seen] + noise)


def test_a_teacher_answers_about_every_photo(dataset: Dataset) -> None:
    answers = ask_teacher(dataset, CONFIG, CPU, colours)
    assert answers is not None
    photos = (*photos_of("train", dataset), *photos_of("val", dataset))
    assert torch.allclose(answers.sum(dim=1), torch.ones(len(photos)))
    assert torch.equal(answers.argmax(dim=1), targets_of(photos, dataset))


def test_a_teacher_learns_nothing_from_validation_labels(dataset: Dataset) -> None:
    relabelled = tuple(
        replace(photo, label=(photo.label + 1) % 3) if photo.label >= 0 else photo
        for photo in dataset.val
    )
    answers = ask_teacher(dataset, CONFIG, CPU, colours)
    same = ask_teacher(replace(dataset, val=relabelled), CONFIG, CPU, colours)
    assert answers is not None
    assert same is not None
    assert torch.equal(answers, same)


def test_answers_that_would_fill_the_memory_are_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "_MOST_ANSWERS", 100)
    with pytest.raises(ValueError, match=r"test_efficientnet: .* photos and 4 outputs would fill"):
        ask_teacher(dataset, CONFIG, CPU, colours)


def test_without_a_teacher_there_are_only_labels(dataset: Dataset) -> None:
    assert ask_teacher(dataset, TrainConfig(), CPU, colours) is None


def test_a_head_learns_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(240, 6, generator=generator)
    told = (features @ torch.randn(6, 3, generator=generator)).softmax(dim=1)
    config = TrainConfig(label_smoothing=0.0, learning_rate=0.1, weight_decay=0.0, batch_size=24)
    head, _ = fit_head(stored(features), told, 3, 3, config, CPU)
    assert float((head.logits(features).softmax(dim=1) - told).abs().max()) < 0.05


@pytest.mark.parametrize("mixed", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_probabilities_teach_pixels_what_labels_would(mixed: dict[str, Any]) -> None:
    labels = torch.arange(12) % 3
    pixels = torch.randint(
        0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = []
    for targets in (labels, torch.eye(3)[labels]):
        np.random.seed(0)
        model, order = tiny_model(), torch.Generator().manual_seed(0)
        config = small_config(finetune_epochs=3, finetune_learning_rate=0.01, **mixed)
        fit_on_pixels(model, TensorBatches(pixels, targets, 4, order), None, config)
        found.append(model.eval()(pixels))
    assert torch.allclose(found[0], found[1], atol=1e-4)


def tuned(share: float) -> nn.Module:
    labels = torch.arange(12) % 3
    pixels = torch.randint(
        0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    model, order = tiny_model(), torch.Generator().manual_seed(0)
    config = small_config(finetune_epochs=2, finetune_learning_rate=0.01, finetune_share=share)
    fit_on_pixels(model, TensorBatches(pixels, labels, 4, order), None, config)
    return model


def test_weights_lie_between_the_head_and_the_fine_tuned_ones() -> None:
    before, half, after = tiny_model().state_dict(), tuned(0.5).state_dict(), tuned(1).state_dict()
    none = tuned(0.0).state_dict()
    for name, value in after.items():
        if not value.is_floating_point():
            assert torch.equal(half[name], value)
            continue
        assert torch.equal(none[name], before[name])
        assert not torch.equal(value, before[name])
        assert torch.allclose(half[name], (before[name] + value) / 2, atol=1e-6)


def test_weights_of_a_checkpoint_meet_those_on_another_device() -> None:
    started, trained = torch.zeros(2), torch.zeros(2, device="meta")
    assert part_way({"weight": started}, {"weight": trained}, 0.5)["weight"].is_meta


def test_a_frozen_student_learns_answers_with_landmarks_left_out_too(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "landmark_ml.training.phases.create_model", lambda _config, outputs: tiny_model(outputs)
    )
    cache_dir = str(lay_traced(tmp_path / "cache"))
    config = replace(CONFIG, cache_dir=cache_dir, epochs=20, learning_rate=0.1, label_smoothing=0.0)
    by_labels, validation = (
        train_network(tiny_model(num_outputs(dataset)), dataset, told, CPU)
        for told in (replace(config, teacher=""), config)
    )
    assert float((validation.logits.argmax(dim=1) == validation.targets).float().mean()) > 0.9
    # A teacher of few steps is unsure, and so is who learns from it.
    sure = [each.logits.softmax(dim=1).amax(dim=1).mean() for each in (by_labels, validation)]
    assert sure[1] < sure[0] - 0.2
    assert validation.leave_out is not None
    assert all(
        len(found) for found in (validation.leave_out().known, validation.leave_out().unseen)
    )


def test_distill_trains_from_photos_to_a_network(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teacher and student are the same small network here, which is traced once in all tests."""
    monkeypatch.setattr(
        "landmark_ml.training.phases.create_model", lambda _config, outputs: tiny_model(outputs)
    )
    small: dict[str, Any] = {
        "train_resolution": 16,
        "start_resolution": 0,
        "finetune_batch_size": 8,
    }
    short: dict[str, Any] = {"epochs": 2, "finetune_epochs": 1, "unfreeze": 0}
    cache_dir = str(lay_traced(tmp_path / "cache"))
    config = replace(distill(), cache_dir=cache_dir, **small, **short)
    model, rows = tiny_model(num_outputs(dataset)), list[dict[str, float]]()
    before = model.classifier.weight.clone()
    validation = train_network(model, dataset, config, CPU, rows.append)
    assert len(rows) == 3
    assert validation.logits.shape == (16, 4)
    assert not torch.equal(model.classifier.weight, before)
