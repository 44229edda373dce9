"""Photos of one colour each, a little noisy so that no two are the same file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo

CLASSES = ("red", "green", "blue")
_COLOURS = {0: (220, 30, 30), 1: (30, 220, 30), 2: (30, 30, 220), NOT_A_LANDMARK: (235, 235, 235)}


def write_colour(path: Path, label: int, seed: int, size: tuple[int, int] = (24, 20)) -> Photo:
    """Save a photo in the colour of a label and describe it as a dataset would."""
    noise = np.random.default_rng(seed).integers(-20, 21, (size[1], size[0], 3))
    pixels = np.clip(np.array(_COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return Photo(path, label, hashlib.sha256(path.read_bytes()).hexdigest(), *size)


def write_colours(folder: Path, each: int, labels: tuple[int, ...], seed: int) -> tuple[Photo, ...]:
    """Save `each` photos of each label."""
    return tuple(
        write_colour(folder / f"{label}-{index}.png", label, seed + 1000 * (label + 1) + index)
        for label in labels
        for index in range(each)
    )


def colour_dataset(root: Path, *, distractors: bool) -> Dataset:
    """Three classes with 8 training and 4 validation photos each; distractors adds as many."""
    labels = (0, 1, 2, NOT_A_LANDMARK) if distractors else (0, 1, 2)
    return Dataset(
        name="colours",
        root=root,
        classes=CLASSES,
        train=write_colours(root / "train", 8, labels, seed=0),
        val=write_colours(root / "val", 4, labels, seed=100),
        test=write_colours(root / "test", 2, labels, seed=200),
    )
