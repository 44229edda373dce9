"""Both phases of training, from photo files to a network that knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from landmark_ml.config import TrainConfig
from landmark_ml.data import NOT_A_LANDMARK, Dataset
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.training import head_phase
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import load_served
from landmark_ml.training.finetune_phase import check_finetuning, finetune
from landmark_ml.training.head_phase import train_head
from tests.colour_photos import colour_dataset
from tests.tiny_networks import CPU, lay_traced, tiny_model

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.training.optim import TrainState

    Rows = list[dict[str, float]]
    Trained = tuple[LandmarkNetwork, tuple[torch.Tensor, torch.Tensor], Rows]


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


def head_trained(dataset: Dataset, config: TrainConfig) -> Trained:
    torch.manual_seed(0)
    model, rows = tiny_model(num_outputs(dataset)), list[dict[str, float]]()
    validation = train_head(model, dataset, config, CPU, rows.append)
    return model.eval(), validation, rows


def test_a_head_learns_the_photos_and_stands_in_the_network(
    plain: Dataset, config: TrainConfig
) -> None:
    model, (val_logits, val_targets), rows = head_trained(plain, config)
    assert len(rows) == 12
    assert max(row["val/top1"] for row in rows) == 1.0
    assert val_targets.tolist() == [photo.label for photo in plain.val]
    with torch.no_grad():
        logits = model(load_served(plain.val, model.preprocessing))
        tested = model(load_served(plain.test, model.preprocessing)).argmax(dim=1)
    # What calibrates is what the network now says of the validation photos.
    assert torch.allclose(logits, val_logits, atol=1e-3)
    assert tested.tolist() == [photo.label for photo in plain.test]


def test_the_backbone_stays_frozen(plain: Dataset, config: TrainConfig) -> None:
    model, _, _ = head_trained(plain, config)
    before = tiny_model().network.state_dict()
    changed = [k for k, v in model.network.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["head.weight", "head.bias"]


def test_a_refit_uses_the_validation_photos_too(plain: Dataset, config: TrainConfig) -> None:
    without, (val_logits, _), rows = head_trained(plain, config)
    refit, (same_logits, _), same_rows = head_trained(plain, replace(config, refit=True))
    # Calibration and history are those of the head that never saw the validation photos.
    assert torch.equal(val_logits, same_logits)
    assert [row["val/loss"] for row in rows] == [row["val/loss"] for row in same_rows]
    assert not torch.allclose(refit.classifier.weight, without.classifier.weight)
    tested = refit(load_served(plain.test, refit.preprocessing)).argmax(dim=1)
    assert tested.tolist() == [photo.label for photo in plain.test]


def test_before_fine_tuning_the_validation_photos_stay_unseen(
    plain: Dataset, config: TrainConfig
) -> None:
    without, _, _ = head_trained(plain, config)
    before_tuning, _, _ = head_trained(plain, replace(config, refit=True, finetune_epochs=1))
    assert torch.equal(before_tuning.classifier.weight, without.classifier.weight)


def test_views_are_more_photos_to_train_on(plain: Dataset, config: TrainConfig) -> None:
    _, (val_logits, _), rows = head_trained(plain, replace(config, views=3))
    assert val_logits.shape == (12, 3)
    # A view that came with the target of another photo would not let the loss fall so far.
    assert rows[-1]["train/loss"] < 0.6
    assert rows[-1]["val/top1"] == 1.0


def test_distractors_get_an_output_of_their_own(mixed: Dataset, config: TrainConfig) -> None:
    assert num_outputs(mixed) == 4
    model, (val_logits, _), rows = head_trained(mixed, config)
    assert val_logits.shape == (16, 4)
    assert max(row["val/top1"] for row in rows) == 1.0
    answers = model(load_served(mixed.test, model.preprocessing)).argmax(dim=1).tolist()
    expected = [3 if photo.label == NOT_A_LANDMARK else photo.label for photo in mixed.test]
    assert answers == expected


def test_distractors_in_one_split_alone_get_no_output(
    plain: Dataset, mixed: Dataset, config: TrainConfig
) -> None:
    assert num_outputs(plain) == 3
    for split in ("train", "val"):
        lacking = replace(mixed, **{split: mixed.landmarks(split)})  # type: ignore[arg-type]
        assert num_outputs(lacking) == 3
        _, (val_logits, val_targets), _ = head_trained(lacking, replace(config, epochs=1))
        assert val_targets.tolist() == [photo.label for photo in mixed.landmarks("val")]
        assert val_logits.shape == (12, 3)


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
    val_logits, _ = finetune(model, mixed, tuned, CPU, rows.append)
    assert len(rows) == 1
    assert all(np.isfinite(value) for value in rows[0].values())
    assert not any(torch.equal(v, before[name]) for name, v in model.named_parameters())
    with torch.no_grad():
        logits = model.eval()(load_served(mixed.val, model.preprocessing))
    assert torch.allclose(logits, val_logits, atol=1e-4)


def test_fine_tuning_learns_the_photos(plain: Dataset, config: TrainConfig) -> None:
    torch.manual_seed(0)
    rows: list[dict[str, float]] = []
    longer = replace(config, finetune_epochs=8, finetune_learning_rate=0.05, layer_decay=1.0)
    finetune(tiny_model(), plain, longer, CPU, rows.append)
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

    monkeypatch.setattr(head_phase, "fit", best_at_the_third)
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


def test_what_can_be_trained_is_left_as_it_was() -> None:
    model = checked(backbone="test_efficientnet", unfreeze=1, start_resolution=32)
    assert all(parameter.requires_grad for parameter in model.parameters())
