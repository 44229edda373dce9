"""From a photo to the square the network sees: which part of it, in which shape."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from landmark_ml.inference.photos import PhotoError
from landmark_ml.inference.preprocessing import Preprocessing

SQUASH = Preprocessing(
    resolution=40,
    resize=50,
    framing="squash",
    interpolation="bicubic",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
)
CROP = replace(SQUASH, framing="crop")


def marked(width: int, height: int, mark: int) -> Image.Image:
    """Grey photo with a red bar at its left edge and a blue one at its bottom."""
    photo = Image.new("RGB", (width, height), (128, 128, 128))
    draw = ImageDraw.Draw(photo)
    draw.rectangle((0, height - mark, width, height), fill=(0, 0, 255))
    draw.rectangle((0, 0, mark - 1, height), fill=(255, 0, 0))
    return photo


def encoded(photo: Image.Image, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, file_format)
    return buffer.getvalue()


def is_red(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (pixels[..., 0] > 220) & (pixels[..., 2] < 40)
    return found


def is_blue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (pixels[..., 2] > 220) & (pixels[..., 0] < 40)
    return found


def test_squashing_keeps_what_stands_at_the_edge() -> None:
    pixels = SQUASH.pixels(marked(300, 100, mark=30))
    # 30 of 300 columns and 30 of 100 rows, of 40.
    assert int(is_red(pixels)[0].sum()) == pytest.approx(4, abs=1)
    assert int(is_blue(pixels)[:, -1].sum()) == pytest.approx(12, abs=1)


def test_cropping_keeps_the_centre_alone() -> None:
    wide = CROP.pixels(marked(300, 100, mark=8))
    assert not is_red(wide).any()
    assert not is_blue(wide).any()
    # The centre square of 80 pixels leaves 10 of each 100: a bar of 20 shows as 10 of 80.
    square = CROP.pixels(marked(100, 100, mark=20))
    assert int(is_red(square)[0].sum()) == pytest.approx(5, abs=1)
    assert int(is_blue(square)[:, -1].sum()) == pytest.approx(5, abs=1)


def test_cropping_keeps_proportions_and_squashing_does_not() -> None:
    photo = Image.new("RGB", (200, 100))
    ImageDraw.Draw(photo).rectangle((80, 30, 119, 69), fill=(255, 255, 255))
    for preprocessing, across in ((CROP, 1.0), (SQUASH, 0.5)):
        white = preprocessing.pixels(photo)[..., 0] > 128
        width, height = white.any(axis=0).sum(), white.any(axis=1).sum()
        assert width / height == pytest.approx(across, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([SQUASH, CROP]))
def test_a_plain_photo_of_any_size_stays_plain(
    width: int, height: int, preprocessing: Preprocessing
) -> None:
    pixels = preprocessing.pixels(Image.new("RGB", (width, height), (10, 120, 240)))
    assert pixels.shape == (40, 40, 3)
    assert pixels.dtype == np.uint8
    assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[10, 120, 240]]


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
@pytest.mark.parametrize("preprocessing", [SQUASH, CROP], ids=["squash", "crop"])
def test_extreme_proportions_never_blow_up_the_picture(
    size: tuple[int, int], preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def measured(self: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
        result = resize(self, *args, **kwargs)
        made.append(result.width * result.height)
        return result

    monkeypatch.setattr(Image.Image, "resize", measured)
    pixels = preprocessing.read(encoded(Image.new("RGB", size, (10, 120, 240))))
    assert pixels.shape == (40, 40, 3)
    assert (pixels == (10, 120, 240)).all()
    assert max(made) <= 40 * 40


def test_a_file_and_its_bytes_give_the_same_pixels(tmp_path: Any) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(marked(900, 700, mark=90), "JPEG"))
    assert np.array_equal(SQUASH.read(path), SQUASH.read(path.read_bytes()))


def test_a_refused_photo_is_named(tmp_path: Path) -> None:
    photo = tmp_path / "holiday.jpg"
    photo.write_bytes(b"no photo at all")
    with pytest.raises(PhotoError, match=r"holiday\.jpg"):
        SQUASH.read(photo)


@pytest.mark.parametrize("preprocessing", [SQUASH, CROP], ids=["squash", "crop"])
def test_constants_survive_json(preprocessing: Preprocessing) -> None:
    values = json.loads(json.dumps(asdict(preprocessing)))
    assert Preprocessing.from_dict(values) == preprocessing
