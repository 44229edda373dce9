"""Photos cut, overwritten and spliced at random: a picture or a PhotoError, never anything else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from landmark_ml.inference.photos import PhotoError, PhotoErrorCode, decode_photo
from tests.inference.photos.test_photos import encode, scene
from tests.inference.photos.test_raw import RAW


@cache
def samples() -> tuple[bytes, ...]:
    image = scene()
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    return (
        encode(image, "JPEG", exif=turned),
        encode(image, "JPEG", progressive=True),
        encode(image.convert("CMYK"), "JPEG"),
        encode(image, "PNG", exif=turned),
        encode(image.convert("P"), "PNG", transparency=3),
        encode(image, "WEBP", exif=turned),
        encode(image.convert("RGBA"), "WEBP", lossless=True),
        encode(image, "AVIF", speed=10, exif=turned),
        encode(image, "HEIF", exif=turned),
        *(RAW[kind]() for kind in ("NEF", "CR3")),
        encode(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        encode(image, "TIFF", exif=turned),
        encode(image.convert("RGBA"), "TIFF", compression="tiff_lzw"),
        encode(image.convert("F"), "TIFF"),
        encode(image, "BMP"),
        encode(image.convert("P"), "BMP"),
    )


def test_threads_decode_alike() -> None:
    alone = [decode_photo(data).tobytes() for data in samples()]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda data: decode_photo(data).tobytes(), samples() * 4)
    assert list(together) == alone * 4


def check_picture_or_refusal(data: bytes, min_side: int | None) -> None:
    try:
        decoded = decode_photo(data, min_side=min_side)
    except PhotoError as error:
        code = error.code
    else:
        assert decoded.mode == "RGB"
        assert len(decoded.tobytes()) == 3 * decoded.width * decoded.height
        return
    assert code in get_args(PhotoErrorCode)


SIDES = st.sampled_from([None, 8, 40])
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.sampled_from(samples()), DAMAGE, st.floats(0, 1), st.booleans(), SIDES)
def test_damaged_photos_decode_or_are_refused(
    data: bytes, damage: list[tuple[float, int]], keep: float, header: bool, side: int | None
) -> None:
    broken = bytearray(data)
    reach = min(200, len(data)) if header else len(data)
    for place, value in damage:
        broken[int(place * reach)] = value
    check_picture_or_refusal(bytes(broken[: int(keep * len(broken)) + 1]), side)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(samples()), st.sampled_from(samples()), st.integers(1, 120), SIDES)
def test_spliced_photos_decode_or_are_refused(
    one: bytes, other: bytes, cut: int, side: int | None
) -> None:
    check_picture_or_refusal(one[:cut] + other[cut:], side)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from([b"", *(data[:12] for data in samples())]), st.binary(max_size=300))
def test_noise_is_refused(start: bytes, noise: bytes) -> None:
    check_picture_or_refusal(start + noise, None)
