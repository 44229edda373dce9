"""Both phases of training, from photo files to a network that knows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from landmark_ml.config import TrainConfig
from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.heads import CosineClassifier
from landmark_ml.networks.rejection import fit_rejection
from landmark_ml.training import cache, phases
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import load_served
from landmark_ml.training.loop import TrainState
from landmark_ml.training.phases import (
    Validation,
    check_finetuning,
    divide_photos,
    finetune,
    thin_out,
    train_head,
)
from tests.colour_photos import colour_dataset
from tests.tiny_networks import CPU, lay_traced, tiny_model

Rows = list[dict[str, float]]
Trained = tuple[LandmarkNetwork, Validation, Rows]


@pytest.fixture
def plain(tmp_path: Path) -> Dataset:
    return colour_dataset(tmp_path / "photos", distractors=False)


@pytest.fixture
def mixed(tmp_path: Path) -> Dataset:
    return colour_dataset(tmp_path / "photos", distractors=True)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        cache_dir=str(lay_traced(tmp_path / "cache")),
        epochs=12,
        learning_rate=0.1,
        batch_size=8,
        finetune_epochs=0,
        finetune_batch_size=4,
        finetune_learning_rate=0.01,
        refit=False,
    )


def served(photos: Sequence[Photo], model: LandmarkNetwork, config: TrainConfig) -> torch.Tensor:
    rows = load_served(photos, model.preprocessing, Path(config.cache_dir))
    return rows[torch.arange(len(photos))]


def head_trained(dataset: Dataset, config: TrainConfig) -> Trained:
    torch.manual_seed(0)
    model, rows = tiny_model(num_outputs(dataset)), list[dict[str, float]]()
    if config.head == "cosine":
        model.network.head = CosineClassifier(8, num_outputs(dataset))
    validation = train_head(model, dataset, config, CPU, rows.append)
    return model.eval(), validation, rows


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_a_head_learns_the_photos_and_stands_in_the_network(
    head: str, plain: Dataset, config: TrainConfig
) -> None:
    model, validation, rows = head_trained(plain, replace(config, head=head))
    val_logits, val_targets = validation.logits, validation.targets
    assert len(rows) == 12
    assert max(row["val/top1"] for row in rows) == 1.0
    assert val_targets.tolist() == [photo.label for photo in plain.val]
    with torch.no_grad():
        logits = model(served(plain.val, model, config))
        tested = model(served(plain.test, model, config)).argmax(dim=1)
    # What calibrates is what the network now says of the validation photos.
    assert torch.allclose(logits, val_logits, atol=1e-3)
    assert tested.tolist() == [photo.label for photo in plain.test]


def test_the_backbone_stays_frozen(plain: Dataset, config: TrainConfig) -> None:
    model, _, _ = head_trained(plain, config)
    before = tiny_model().network.state_dict()
    changed = [k for k, v in model.network.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["head.weight", "head.bias"]


def test_a_refit_uses_the_validation_photos_too(plain: Dataset, config: TrainConfig) -> None:
    without, validation, rows = head_trained(plain, config)
    refit, same, same_rows = head_trained(plain, replace(config, refit=True))
    # Calibration and history are those of the head that never saw the validation photos.
    assert torch.equal(validation.logits, same.logits)
    assert [row["val/loss"] for row in rows] == [row["val/loss"] for row in same_rows]
    assert not torch.allclose(refit.classifier.weight, without.classifier.weight)
    tested = refit(served(plain.test, refit, config)).argmax(dim=1)
    assert tested.tolist() == [photo.label for photo in plain.test]


def test_before_fine_tuning_the_validation_photos_stay_unseen(
    plain: Dataset, config: TrainConfig
) -> None:
    without, _, _ = head_trained(plain, config)
    before_tuning, _, _ = head_trained(plain, replace(config, refit=True, finetune_epochs=1))
    assert torch.equal(before_tuning.classifier.weight, without.classifier.weight)


def test_distractors_get_an_output_of_their_own(mixed: Dataset, config: TrainConfig) -> None:
    assert num_outputs(mixed) == 4
    model, validation, rows = head_trained(mixed, config)
    assert validation.logits.shape == (16, 4)
    assert max(row["val/top1"] for row in rows) == 1.0
    answers = model(served(mixed.test, model, config)).argmax(dim=1).tolist()
    expected = [3 if photo.label == NOT_A_LANDMARK else photo.label for photo in mixed.test]
    assert answers == expected


def test_distractors_in_one_split_alone_get_no_output(
    plain: Dataset, mixed: Dataset, config: TrainConfig
) -> None:
    assert num_outputs(plain) == 3
    for split in ("train", "val"):
        lacking = replace(mixed, **{split: mixed.landmarks(split)})  # type: ignore[arg-type]
        assert num_outputs(lacking) == 3
        _, validation, _ = head_trained(lacking, replace(config, epochs=1))
        assert validation.targets.tolist() == [photo.label for photo in mixed.landmarks("val")]
        assert validation.logits.shape == (12, 3)


@pytest.mark.parametrize(
    "strength",
    [{}, {"mixup": 0.2, "cutmix": 1.0, "ema_decay": 0.9, "erasing": 0.5, "layer_decay": 0.5}],
    ids=["plain", "all at once"],
)
def test_fine_tuning_moves_the_whole_network(
    strength: dict[str, float], mixed: Dataset, config: TrainConfig
) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    changes: dict[str, Any] = strength
    model, rows = tiny_model(num_outputs(mixed)), list[dict[str, float]]()
    before = {name: value.clone() for name, value in model.named_parameters()}
    tuned = replace(config, finetune_epochs=1, **changes)
    val_logits = finetune(model, mixed, tuned, CPU, rows.append).logits
    assert len(rows) == 1
    assert all(np.isfinite(value) for value in rows[0].values())
    assert not any(torch.equal(v, before[name]) for name, v in model.named_parameters())
    with torch.no_grad():
        logits = model.eval()(served(mixed.val, model, config))
    assert torch.allclose(logits, val_logits, atol=1e-4)


def test_a_network_tuned_in_bf16_is_calibrated_on_bf16_features_and_a_classifier_in_f32(
    plain: Dataset, config: TrainConfig
) -> None:
    torch.manual_seed(0)
    model, compute = tiny_model(), replace(CPU, bf16=True)
    logits = finetune(model, plain, replace(config, finetune_epochs=1), compute).logits
    pixels = served(plain.val, model, config)
    with torch.no_grad():
        with compute.autocast():
            features = model.eval().features(pixels)
        mixed, exact = model.classifier(features.float()), model(pixels)
    assert torch.allclose(logits, mixed, atol=1e-5)
    assert not torch.allclose(logits, exact, atol=1e-5)


def test_fine_tuning_learns_the_photos(
    plain: Dataset, config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    rows: list[dict[str, float]] = []
    longer = replace(config, finetune_epochs=8, finetune_learning_rate=0.05, layer_decay=1.0)
    with caplog.at_level(logging.INFO):
        finetune(tiny_model(), plain, longer, CPU, rows.append)
    assert "4 a step and 4 on each process, in f32; peak learning rate 0.05" in caplog.text
    assert max(row["val/top1"] for row in rows) == 1.0


def test_the_same_seed_gives_the_same_run(mixed: Dataset, config: TrainConfig) -> None:
    first, second = (head_trained(mixed, config) for _ in range(2))
    other = head_trained(mixed, replace(config, seed=1))
    assert torch.equal(first[0].classifier.weight, second[0].classifier.weight)
    assert [row["val/loss"] for row in first[2]] == [row["val/loss"] for row in second[2]]
    assert not torch.equal(first[0].classifier.weight, other[0].classifier.weight)


def test_a_refit_stops_where_validation_was_best(
    plain: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[tuple[int, bool]] = []

    def best_at_the_third(
        state: TrainState, _train: object, val: object, *_: object
    ) -> dict[str, float]:
        fits.append((state.epochs, val is not None))
        return {"epoch": 2.0}

    monkeypatch.setattr(phases, "fit", best_at_the_third)
    head_trained(plain, replace(config, refit=True, patience=1))
    assert fits == [(12, True), (3, False)]


def checked(**values: Any) -> LandmarkNetwork:
    settings: dict[str, Any] = {
        "weights": "random",
        "feature_stages": 0,
        "pooling": "average",
        "finetune_epochs": 1,
        "resolution": 64,
    }
    config = TrainConfig(**(settings | values))
    model = create_model(config, 3)
    check_finetuning(model, config)
    return model


def test_crops_the_network_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"photos of 130 px .* give another train_resolution"):
        checked(backbone="landmark_cnn", train_resolution=130)
    with pytest.raises(ValueError, match=r"'vit_tiny_patch16_224' cannot take photos of 192 px"):
        checked(backbone="vit_tiny_patch16_224", resolution=0, train_resolution=192)


def test_crops_that_begin_larger_than_they_end_are_refused() -> None:
    with pytest.raises(ValueError, match=r"start_resolution is 512 .* crops grow to 160"):
        checked(backbone="test_efficientnet", resolution=0, start_resolution=512)


def test_more_stages_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unfreeze is 50 and the network has"):
        checked(backbone="test_efficientnet", unfreeze=50)


def test_activations_computed_again_give_the_same_network(
    plain: Dataset, config: TrainConfig
) -> None:
    trained = []
    for recompute in (False, True):
        torch.manual_seed(0)
        tuned = replace(
            config,
            backbone="test_resnet",
            weights="random",
            resolution=32,
            finetune_epochs=1,
            feature_stages=0,
            pooling="average",
            recompute=recompute,
        )
        model = create_model(tuned, 3)
        finetune(model, plain, tuned, CPU)
        trained.append(model.classifier.weight.detach())
        assert not any(getattr(each, "grad_checkpointing", False) for each in model.modules())
    assert torch.allclose(trained[0], trained[1], atol=1e-5)
    with pytest.raises(ValueError, match="'landmark_cnn' cannot recompute its activations"):
        checked(backbone="landmark_cnn", recompute=True)


def test_what_can_be_trained_is_left_as_it_was() -> None:
    model = checked(backbone="test_efficientnet", unfreeze=1, start_resolution=32)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_landmark_left_out_is_asked_as_one_never_learned(
    mixed: Dataset, config: TrainConfig
) -> None:
    _, validation, _ = head_trained(mixed, replace(config, refit=True))
    assert validation.leave_out is not None
    left_out = validation.leave_out()
    train, landmarks = (*mixed.train, *mixed.val), 3
    # Each photo of a landmark is asked once while its landmark is left out, and everyday photos
    # once by a head that did not see them.
    assert len(left_out.unseen) == sum(photo.label != NOT_A_LANDMARK for photo in train)
    assert len(left_out.everyday) == sum(photo.label == NOT_A_LANDMARK for photo in train)
    assert 0 < len(left_out.known) < len(left_out.unseen)
    assert left_out.references is not None
    assert left_out.references.centres.shape[0] == left_out.references.logits.shape[1] == landmarks
    rejection = fit_rejection(left_out, config)
    assert rejection.expected["landmarks"] >= config.min_known_tagged
    assert left_out.known[:, 0].mean() > left_out.unseen[:, 0].mean()


def test_many_photos_are_thinned_out_for_the_landmarks_left_out(
    mixed: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_MOST_LEARNED", 24), ("_MOST_OF_EACH", 8), ("_MOST_ASKED", 5)):
        monkeypatch.setattr(phases, name, value)
    _, validation, _ = head_trained(mixed, config)
    assert validation.leave_out is not None
    left_out = validation.leave_out()
    # One head, asked about the one landmark of three that it never saw.
    assert len(left_out.unseen) == 5
    assert 0 < len(left_out.known) <= 5
    assert left_out.known[:, 0].mean() > left_out.unseen[:, 0].mean()


def test_a_single_head_is_asked_about_half_of_the_everyday_photos(
    mixed: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "_MOST_LEARNED", 50)
    _, validation, _ = head_trained(mixed, config)
    assert validation.leave_out is not None
    everyday = [p for p in (*mixed.train, *mixed.val) if p.label == NOT_A_LANDMARK]
    halves = divide_photos(everyday, torch.full((len(everyday),), 3), 2)
    assert len(validation.leave_out().everyday) == (halves == 0).sum()


def test_small_landmarks_stay_when_many_photos_are_thinned_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(phases, "_MOST_LEARNED", 100)
    targets = torch.tensor([0] * 1000 + [1] * 2 + [2] * 25 + [3] * 5)
    targets = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))]
    used = thin_out(targets, 3)
    counts = targets[used].bincount()
    assert (used.diff() > 0).all()
    assert counts[1] == 2
    assert counts[2] >= 20
    assert counts[3] == 5
    assert counts[:3].sum() == 100


def test_of_many_validation_photos_evenly_spread_ones_choose_and_calibrate(
    plain: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "_MOST_LOGITS", 6 * 3)
    _, few, _ = head_trained(plain, config)
    assert few.logits.shape == (6, 3)
    assert few.targets.tolist() == [photo.label for photo in plain.val[::2]]
    tuned = replace(config, finetune_epochs=1)
    assert finetune(tiny_model(), plain, tuned, CPU).targets.tolist() == few.targets.tolist()


def test_features_on_disk_train_the_head_that_those_in_memory_do(
    plain: Dataset, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, _, _ = head_trained(plain, config)
    monkeypatch.setattr(cache, "IN_MEMORY", 0)
    on_disk, _, _ = head_trained(plain, config)
    assert torch.equal(on_disk.classifier.weight, in_memory.classifier.weight)


@pytest.mark.usefixtures("threads_restored")
def test_heads_trained_side_by_side_are_those_trained_in_turn(
    mixed: Dataset, config: TrainConfig
) -> None:
    def known(threads: int) -> Tensor:
        torch.set_num_threads(threads)
        _, validation, _ = head_trained(mixed, replace(config, drop_rate=0.5))
        assert validation.leave_out is not None
        return validation.leave_out().known

    assert torch.equal(known(3), known(1))
    assert torch.get_num_threads() == 1


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("visit", ["one", "{photo.label}"], ids=["to all", "to each"])
def test_a_landmark_of_one_visit_is_known_by_its_other_photos(
    visit: str, mixed: Dataset, config: TrainConfig
) -> None:
    def of_visit(photos: tuple[Photo, ...]) -> tuple[Photo, ...]:
        return tuple(replace(photo, visit=visit.format(photo=photo)) for photo in photos)

    visited = replace(mixed, train=of_visit(mixed.train), val=of_visit(mixed.val))
    _, validation, _ = head_trained(visited, config)
    assert validation.leave_out is not None
    left_out = validation.leave_out()
    assert len(left_out.known) > 10
    assert left_out.known[:, 0].mean() > left_out.unseen[:, 0].mean()


def test_without_everyday_photos_or_a_third_landmark_less_is_known(
    plain: Dataset, config: TrainConfig
) -> None:
    _, validation, _ = head_trained(plain, config)
    assert validation.leave_out is not None
    assert "distractors" not in fit_rejection(validation.leave_out(), config).expected
    train, val = (
        tuple(photo for photo in photos if photo.label < 2) for photos in (plain.train, plain.val)
    )
    two = replace(plain, classes=plain.classes[:2], train=train, val=val)
    _, validation, _ = head_trained(two, config)
    assert validation.leave_out is None
