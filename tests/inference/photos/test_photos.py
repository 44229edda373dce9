"""One decoder for every photo: formats, pixel modes, orientation, scaled decoding, refusals."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from landmark_ml.inference.photos import PhotoError, decode_photo

Pixels = npt.NDArray[Any]
RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (20, 40, 230), (128, 128, 128)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Four quarters of one colour each: every turn and mirroring shows."""
    pixels = np.empty((height, width, 3), np.uint8)
    top, left = slice(None, height // 2), slice(None, width // 2)
    pixels[:], pixels[top], pixels[:, left], pixels[top, left] = GREY, GREEN, BLUE, RED
    return Image.fromarray(pixels)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def array(image: Image.Image) -> Pixels:
    return np.asarray(image).astype(np.int32)


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(array(one) - array(other)).mean())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
def test_every_format_from_bytes_and_path_whatever_its_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(encode(scene(), kind))
    decoded = decode_photo(path)
    assert type(decoded) is Image.Image  # a plugin's class would keep the file in memory
    assert decoded.mode == "RGB"
    assert difference(decoded, scene()) < 4
    assert difference(decoded, decode_photo(path.read_bytes())) == 0


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_first_frame_of_many(kind: str) -> None:
    data = encode(scene(), kind, save_all=True, append_images=[scene().rotate(180)])
    assert difference(decode_photo(data), scene()) < 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_opaque_modes_keep_their_look(mode: str) -> None:
    image = scene().convert(mode)
    kind = "TIFF" if mode in {"CMYK", "YCbCr", "LAB"} else "PNG"
    # YCbCr lives in TIFFs compressed as JPEG; some releases of PIL cannot read it back otherwise.
    options = {"compression": "jpeg"} if mode == "YCbCr" else {}
    assert difference(decode_photo(encode(image, kind, **options)), image.convert("RGB")) < 3


@pytest.mark.parametrize("min_side", [None, 32])
def test_cmyk_jpeg(min_side: int | None) -> None:
    decoded = decode_photo(encode(scene(512, 256).convert("CMYK"), "JPEG"), min_side=min_side)
    assert difference(decoded, scene(*decoded.size)) < 4


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "keyed"])
def test_transparency_is_white_and_half_of_it_half_white(mode: str) -> None:
    image = Image.new("RGBA", (30, 20), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    if mode in {"RGBA", "LA", "PA"}:
        image.paste((0, 0, 0, 128), (20, 0, 30, 20))
    if mode == "keyed":
        flat = Image.new("RGB", (30, 20))
        flat.paste((9, 9, 9), (0, 0, 10, 20))
        data = encode(flat, "PNG", transparency=(9, 9, 9))
    else:
        kind = "TIFF" if mode == "PA" else "PNG"
        data = encode(image if mode == "PA" else image.convert(mode), kind)
    decoded = decode_photo(data)
    assert decoded.getpixel((5, 5)) == (255, 255, 255)
    assert decoded.getpixel((15, 5)) == (0, 0, 0)
    if mode in {"RGBA", "LA", "PA"}:
        assert decoded.getpixel((25, 5)) == (127, 127, 127)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_greys_are_scaled_not_clipped(order: str) -> None:
    values = np.arange(0, 65536, 16, dtype=order).reshape(64, 64)
    data = encode(Image.fromarray(values), "PNG" if order == "<u2" else "TIFF")
    expected = np.rint(values / 257)
    decoded = array(decode_photo(data))
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 51, 255]], np.int32), [0, 51, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 1 << 30, (1 << 31) - 1]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 10, 255]], np.float32), [0, 10, 255]),
        (np.array([[-1, np.nan, 1]], np.float32), [0, 0, 255]),
        (np.array([[np.inf, -np.inf, 0.2]], np.float32), [255, 0, 51]),
        (np.array([[-3.4e38, 0, 3.4e38]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.nan, np.nan]], np.float32), [0, 0, 0]),
        (np.array([[-7, -7, -7]], np.float32), [0, 0, 0]),
    ],
)
def test_deep_greys_keep_their_range(values: Pixels, expected: list[int]) -> None:
    decoded = array(decode_photo(encode(Image.fromarray(values), "TIFF")))
    assert decoded[0, :, 0] == pytest.approx(expected, abs=1)


def stored(upright: Pixels, orientation: int) -> Pixels:
    """Pixels a camera stores so that EXIF `orientation` turns them to `upright`."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("min_side", [None, 32])
def test_orientation_is_applied_once(kind: str, orientation: int, min_side: int | None) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = np.ascontiguousarray(stored(np.asarray(scene(128, 64)), orientation))
    decoded = decode_photo(encode(Image.fromarray(pixels), kind, exif=exif), min_side=min_side)
    scale = 2 if kind == "JPEG" and min_side else 1
    assert difference(decoded, scene(128 // scale, 64 // scale)) < 4
    assert decoded.getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize(("min_side", "size"), [(601, 1), (600, 1), (301, 1), (300, 2), (75, 8)])
def test_jpegs_decode_no_smaller_than_asked(min_side: int, size: int) -> None:
    hills = np.sin(np.linspace(0, 20, 800)) * np.cos(np.linspace(0, 9, 600))[:, None]
    image = Image.fromarray((hills * 127 + 128).astype(np.uint8)).convert("RGB")
    data = encode(image, "JPEG", quality=95)
    decoded = decode_photo(data, min_side=min_side)
    assert decoded.size == (800 // size, 600 // size)
    assert difference(decoded, decode_photo(data).resize(decoded.size, Image.Resampling.BOX)) < 1.5


def test_min_side_leaves_other_formats() -> None:
    assert decode_photo(encode(scene(), "PNG"), min_side=8).size == scene().size


def test_colour_profile_stays_and_colours_with_it() -> None:
    decoded = decode_photo(encode(scene(), "PNG", icc_profile=b"profile"))
    assert decoded.info == {"icc_profile": b"profile"}
    assert difference(decoded, scene()) == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"<!doctype html><title>404</title>", "not_an_image"),
        (b"BM is a bank", "not_an_image"),
        (b"\xff\xd8\xff", "not_an_image"),
        (encode(scene(), "EPS"), "unsupported"),
        (encode(scene(), "ICO"), "unsupported"),
        (encode(scene(), "PDF"), "unsupported"),
        (encode(scene(), "PPM"), "not_an_image"),
        (b"II*\0\xff\0\0\0", "not_an_image"),
    ],
)
def test_refusals_say_why(data: bytes, code: str) -> None:
    with pytest.raises(PhotoError, match=r"^holiday\.jpg: ") as caught:
        decode_photo(data, name="holiday.jpg")
    assert caught.value.code == code
    assert caught.value.name == "holiday.jpg"
    assert str(caught.value) == f"holiday.jpg: {caught.value.reason}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_missing_pixels_are_truncated(kind: str, share: float) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    if kind == "TIFF":  # PIL writes the directory of a plain TIFF in front of its pixels
        assert int.from_bytes(data[4:8], "little") == 8
    with pytest.raises(PhotoError) as caught:
        decode_photo(data[: int(len(data) * share)])
    assert caught.value.code == "truncated"


def test_errors_survive_pickling() -> None:
    error = PhotoError("truncated", "pixels are missing", "a.jpg")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.code, again.reason, again.name, str(again)) == (
        *("truncated", "pixels are missing", "a.jpg"),
        "a.jpg: pixels are missing",
    )


def test_files_that_cannot_be_opened_are_not_photo_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_photo(tmp_path / "none.jpg")
    with pytest.raises(IsADirectoryError):
        decode_photo(tmp_path)
