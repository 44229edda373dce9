"""Corruptions are the same every time and do what their names say; a sample covers all labels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from landmark_ml.data import Photo
from landmark_ml.evaluation.robustness import (
    CORRUPTIONS,
    SHORT_SIDE,
    corrupt,
    measure_robustness,
    spread_over_labels,
)
from tests.photo_folders import write_photo


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photo.png", seed=3)


def pixels(photo: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(Image.open(io.BytesIO(photo)), dtype=np.float64)


def test_clean_is_the_photo_at_one_size(photo: Path) -> None:
    assert min(pixels(corrupt(photo, "clean", 0)).shape[:2]) == SHORT_SIDE


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "clean"])
def test_a_corruption_harms_the_same_way_every_time(name: str, photo: Path) -> None:
    harmed = corrupt(photo, name, seed=1)
    assert harmed == corrupt(photo, name, seed=1)
    assert harmed != corrupt(photo, "clean", seed=1)


def test_corruptions_do_what_their_names_say(photo: Path) -> None:
    clean = pixels(corrupt(photo, "clean", 0))
    assert pixels(corrupt(photo, "low_light", 0)).mean() < 0.3 * clean.mean()
    assert min(pixels(corrupt(photo, "downscale", 0)).shape[:2]) == 64
    assert np.abs(np.diff(pixels(corrupt(photo, "noise", 0)), axis=0)).mean() > 20
    blurred, sharp = np.diff(pixels(corrupt(photo, "blur", 0)), axis=0), np.diff(clean, axis=0)
    assert np.abs(blurred).mean() < np.abs(sharp).mean()
    assert pixels(corrupt(photo, "crop", 0)).shape[0] == round(0.6 * clean.shape[0])


def test_every_photo_is_turned_and_cropped_in_its_own_way(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{seed}.png", seed=seed) for seed in range(12)]
    clean = [pixels(corrupt(photo, "clean", 0)) for photo in photos]
    cropped = [pixels(corrupt(photo, "crop", 0)) for photo in photos]
    assert len({corner_of(*pair) for pair in zip(clean, cropped, strict=True)}) > 6


def corner_of(photo: np.ndarray[Any, Any], crop: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Where a crop was taken from."""
    height, width = crop.shape[:2]
    first = np.argwhere((photo == crop[0, 0]).all(axis=2)).tolist()
    fits = [(y, x) for y, x in first if np.array_equal(photo[y : y + height, x : x + width], crop)]
    return fits[0]


def test_a_sample_takes_every_label_before_a_second_photo_of_one(tmp_path: Path) -> None:
    labels = [0] * 20 + [1] * 3 + [2]
    photos = [Photo(tmp_path / str(i), label, str(i), 8, 8) for i, label in enumerate(labels)]
    chosen = spread_over_labels(photos, 6, seed=0)
    assert sorted(photo.label for photo in chosen) == [0, 0, 0, 1, 1, 2]
    assert len(spread_over_labels(photos, 100, seed=0)) == 24
    assert spread_over_labels(photos, 6, seed=0) == chosen


class _Dark:
    """Answers "a" for bright photos and "b" for dark ones."""

    def predict(
        self,
        data: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - the interface's
    ) -> pd.DataFrame:
        names = ["a" if pixels(photo).mean() > 60 else "b" for photo in data["image"]]
        return pd.DataFrame({"candidates": [[{"landmark": name}] for name in names]})


def test_top1_is_measured_for_each_corruption(tmp_path: Path) -> None:
    photos = [
        Photo(write_photo(tmp_path / f"{i}.png", seed=i), 0, str(i), 96, 80) for i in range(3)
    ]
    table = measure_robustness(_Dark(), photos, ["a", "b"], most=2, seed=0)
    found = dict(zip(table["corruption"], table["top1"], strict=True))
    assert list(found) == list(CORRUPTIONS)
    assert found["low_light"] == 0
    assert found["clean"] == found["rotation"] == 1
    assert table["photos"].tolist() == [2] * len(CORRUPTIONS)
    assert (table["low"] <= table["top1"]).all()
