"""A whole run refuses early what would cost the training later."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from landmark_ml.config import DataConfig, TrainConfig
from landmark_ml.data.opening import open_dataset
from landmark_ml.geo.gazetteer import GazetteerError
from landmark_ml.tracking import run as tracking
from landmark_ml.training import run as training
from landmark_ml.training.devices import Processes
from landmark_ml.training.run import History, check_splits, run_training, train_together
from tests.interrupted_runs import QUICK, write_colour_folders
from tests.photo_folders import write_class, write_snapshot
from tests.tiny_networks import processor_of

OWN: dict[str, Any] = {"backbone": "landmark_cnn", "feature_stages": 0}


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch, tracking_uri: str) -> None:
    def too_late(*_: object) -> None:
        pytest.fail("the training began")

    monkeypatch.setattr(training, "finetune", too_late)


def test_the_history_knows_where_a_phase_began(tracking_uri: str) -> None:
    with tracking.start_run(TrainConfig(), "history", {}) as run:
        history = History(run, None, [])
        for epoch in (0.0, 1.0, 0.0, 1.0):
            history.add({"epoch": epoch, "val/loss": 1.0})
    assert [row["epoch"] for row in history.rows] == [0, 1, 2, 3]
    assert [row["phase_epoch"] for row in history.rows] == [0, 1, 0, 1]
    assert mlflow.get_run(run.run_id).data.metrics == {"val/loss": 1.0}


def test_epochs_that_a_killed_process_had_logged_are_not_logged_again(tracking_uri: str) -> None:
    """As after a kill before the first checkpoint: the same run starts over."""
    with tracking.start_run(TrainConfig(), "history", {}) as run:
        for epochs in (2, 4):
            history = History(run, None, [])
            for epoch in range(epochs):
                history.add({"epoch": float(epoch), "train/loss": 1.0 / (epoch + 1)})
    assert len(history.rows) == 4
    points = mlflow.MlflowClient().get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in points] == [
        (step, 1.0 / (step + 1)) for step in range(4)
    ]


def config(folder: Path, **values: Any) -> TrainConfig:
    cache = str(folder / "cache")
    return TrainConfig(cache_dir=cache, epochs=0, finetune_epochs=1, **QUICK, **values)


def test_a_dataset_without_test_photos_is_refused(tmp_path: Path) -> None:
    photos = write_colour_folders(tmp_path / "photos")
    for photo in (photos / "test").rglob("*.*"):
        photo.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="has no readable test photo of a landmark"):
        run_training(config(tmp_path, data=str(photos), max_unreadable=1.0))


def test_three_photos_of_a_class_are_enough_for_every_split(tmp_path: Path) -> None:
    for count in (2, 3):
        write_class(tmp_path / str(count) / "one", range(count))
        write_class(tmp_path / str(count) / "other", range(10, 10 + count))
    with pytest.raises(ValueError, match="a class needs at least 3 that do not look the same"):
        check_splits(open_dataset(DataConfig(data=str(tmp_path / "2"))))
    check_splits(open_dataset(DataConfig(data=str(tmp_path / "3"))))


def test_photos_of_one_visit_are_refused_with_the_reason(tmp_path: Path) -> None:
    for seed in range(12):
        path = tmp_path / ("one" if seed % 2 else "other") / f"{seed}.jpg"
        write_snapshot(path, seed, f"2023:07:14 10:{seed:02d}:00")
    with pytest.raises(ValueError, match=r"no readable val photo .* one visit .* grouping=copies"):
        check_splits(open_dataset(DataConfig(data=str(tmp_path))))
    # One photo without a visit leaves the reason what it is.
    write_class(tmp_path / "one", range(20, 21))
    with pytest.raises(ValueError, match=r"no readable test photo .* one visit .* grouping=copies"):
        check_splits(open_dataset(DataConfig(data=str(tmp_path))))
    check_splits(open_dataset(DataConfig(data=str(tmp_path), grouping="copies")))


def test_a_mistake_in_the_places_is_found_before_training(tmp_path: Path) -> None:
    photos = write_colour_folders(tmp_path / "photos")
    (photos / "places.csv").write_text("landmark,latitude,longitude\nred,95,0\n")
    with pytest.raises(GazetteerError, match="line 2, column latitude"):
        run_training(config(tmp_path, data=str(photos)))


def test_a_mistaken_backbone_is_found_before_the_photos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "open_photos", lambda *_: pytest.fail("photos were read"))
    mistaken = config(tmp_path, data=str(tmp_path))
    with pytest.raises(ValueError, match=r"'test_eficientnet' is unknown .*test_efficientnet"):
        run_training(replace(mistaken, backbone="test_efficientnet+test_eficientnet"))


def test_bf16_on_a_processor_without_it_is_refused_before_the_photos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor_of(monkeypatch, has_bf16=False)
    monkeypatch.setattr(training, "open_photos", lambda *_: pytest.fail("photos were read"))
    with pytest.raises(ValueError, match=r"has no bf16 instructions; give precision=f32"):
        run_training(config(tmp_path, data=str(tmp_path), device="cpu", precision="bf16"))


def test_crops_the_network_cannot_take_are_found_before_training(tmp_path: Path) -> None:
    photos = write_colour_folders(tmp_path / "photos")
    settings = config(tmp_path, data=str(photos))
    with pytest.raises(ValueError, match="give another train_resolution"):
        run_training(replace(settings, **OWN, train_resolution=130))


def test_only_the_first_process_fetches_the_weights_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_colour_folders(tmp_path / "photos")
    given = replace(config(tmp_path, data=str(photos)), weights="runs:/0123")
    shared: list[object] = []
    monkeypatch.setattr(
        training, "join_processes", lambda _: contextlib.nullcontext(Processes(rank=1, count=2))
    )
    monkeypatch.setattr(Processes, "agree", lambda *_: None)
    monkeypatch.setattr(training, "open_photos", lambda asked, _: open_dataset(asked))
    monkeypatch.setattr(training, "finetune", lambda model, *_: shared.append(model))
    assert train_together(given) is None
    assert len(shared) == 1
