"""Photos in memory: in their order, as they are served, or squashed with their proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from landmark_ml.training import pixels as pixels_module
from landmark_ml.training.pixel_cache import PixelStore
from landmark_ml.training.pixels import load_served, load_squashed
from tests.colour_photos import write_colour
from tests.tiny_networks import SIDE, tiny_preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.data import Photo

ALL = torch.arange(3)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PixelStore | None:
    return PixelStore(tmp_path / "cache") if request.param == "disk" else None


def three_photos(folder: Path) -> list[Photo]:
    sizes = [(40, 20), (30, 30), (20, 50)]
    return [write_colour(folder / f"{i}.png", i, seed=i, size=size) for i, size in enumerate(sizes)]


def test_squashed_photos_come_in_order_with_their_proportions(
    tmp_path: Path, store: PixelStore | None
) -> None:
    squares, aspects = load_squashed(three_photos(tmp_path), 24, store)
    pixels = squares[ALL]
    assert pixels.shape == (3, 3, 24, 24)
    assert pixels.dtype == torch.uint8
    assert aspects.tolist() == [2.0, 1.0, torch.tensor(0.4).item()]
    # The photos are red, green and blue.
    assert pixels.float().mean(dim=(2, 3)).argmax(dim=1).tolist() == [0, 1, 2]


def test_served_photos_are_those_of_the_preprocessing(
    tmp_path: Path, store: PixelStore | None
) -> None:
    photos, preprocessing = three_photos(tmp_path), tiny_preprocessing("crop")
    pixels = load_served(photos, preprocessing, store)[ALL]
    assert pixels.shape == (3, 3, SIDE, SIDE)
    for photo, loaded in zip(photos, pixels, strict=True):
        expected = torch.from_numpy(preprocessing.read(photo.path).copy())
        assert torch.equal(loaded.permute(1, 2, 0), expected)


def test_each_way_from_photo_to_pixels_is_stored_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, store = three_photos(tmp_path), PixelStore(tmp_path / "cache")

    def files() -> int:
        return len(list((tmp_path / "cache" / "pixels").glob("*.rgb")))

    for framing in ("crop", "squash", "crop"):
        load_served(photos, tiny_preprocessing(framing), store)
    assert files() == 2
    for side in (24, 20):
        load_squashed(photos, side, store)
    assert files() == 4
    monkeypatch.setattr(pixels_module, "PIXELS_VERSION", 99)
    load_squashed(photos, 24, store)
    assert files() == 5
