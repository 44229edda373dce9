"""Photos in memory: in their order, as they are served, or squashed with their proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landmark_ml.pixels import load_served, load_squashed
from tests.colour_photos import write_colour
from tests.tiny_networks import SIDE, tiny_preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.datasets import Photo


def three_photos(folder: Path) -> list[Photo]:
    sizes = [(40, 20), (30, 30), (20, 50)]
    return [write_colour(folder / f"{i}.png", i, seed=i, size=size) for i, size in enumerate(sizes)]


def test_squashed_photos_come_in_order_with_their_proportions(tmp_path: Path) -> None:
    pixels, aspects = load_squashed(three_photos(tmp_path), 24)
    assert pixels.shape == (3, 3, 24, 24)
    assert pixels.dtype == torch.uint8
    assert aspects.tolist() == [2.0, 1.0, torch.tensor(0.4).item()]
    # The photos are red, green and blue.
    assert pixels.float().mean(dim=(2, 3)).argmax(dim=1).tolist() == [0, 1, 2]


def test_served_photos_are_those_of_the_preprocessing(tmp_path: Path) -> None:
    photos, preprocessing = three_photos(tmp_path), tiny_preprocessing("crop")
    pixels = load_served(photos, preprocessing)
    assert pixels.shape == (3, 3, SIDE, SIDE)
    for photo, loaded in zip(photos, pixels, strict=True):
        expected = torch.from_numpy(preprocessing.read(photo.path).copy())
        assert torch.equal(loaded.permute(1, 2, 0), expected)
