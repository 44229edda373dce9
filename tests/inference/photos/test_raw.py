"""Raw files as cameras lay them out: their preview is read, upright, with place and time."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from landmark_ml.inference.photos import (
    PhotoError,
    PhotoLimits,
    decode_photo,
    read_capture,
    read_location,
    read_photo,
)

SIZE = (1500, 1000)
TAKEN = "2023:07:14 10:11:12"
MAIN: dict[int, Any] = {271: "Maker", 272: "One", 274: 6}
DETAILS = {36867: TAKEN, 42033: "77"}
POSITION = {
    **{1: "N", 2: tuple(map(IFDRational, (48, 51, 30)))},
    **{3: "E", 4: (IFDRational(2), IFDRational(17), IFDRational(402, 10))},
}
# What the sensor saw: lossless JPEG, and noise that looks like the start of one.
SENSOR = (
    b"\xff\xd8\xff\xc4\0\x03\0\xff\xc3\0\x0b\x0e\x10\0\x10\0\1\1\x11\0" + b"\xff\xd8\xff\xe0" * 9
)


def jpeg(size: tuple[int, int] = SIZE, exif: bytes = b"") -> bytes:
    """A photo that is red on its left half."""
    image = Image.new("RGB", size, (200, 30, 30))
    image.paste((30, 30, 200), (size[0] // 2, 0, *size))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def exif(main: dict[int, Any], *, details: bool = True) -> bytes:
    made = Image.Exif()
    made.update(main)
    if details:
        made.update({34665: DETAILS, 34853: POSITION})
    return made.tobytes().removeprefix(b"Exif\0\0")


def tiff(main: dict[int, Any], start: bytes | None = None) -> bytes:
    """A raw file that is a TIFF: directories, a thumbnail, what the sensor saw, the preview."""
    head = exif({**MAIN, **main})
    head = head if start is None else start + head[len(start) :]
    return head + jpeg((160, 120)) + SENSOR + jpeg() + SENSOR


def cr2() -> bytes:
    # Behind the header stands what makes it a CR2, so all offsets are 8 more.
    made = Image.Exif()
    made.update({**MAIN, 34665: DETAILS, 34853: POSITION})
    directory = made.tobytes(16).removeprefix(b"Exif\0\0")
    order = "<" if directory[:2] == b"II" else ">"
    head = directory[:4] + struct.pack(order + "I", 16) + b"CR\2\0" + bytes(4)
    return head + directory[8:] + jpeg() + SENSOR


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def cr3() -> bytes:
    blocks = [exif(part, details=False) for part in (MAIN, DETAILS, POSITION)]
    named = zip((b"CMT1", b"CMT2", b"CMT4"), blocks, strict=True)
    moov = box(b"moov", box(b"uuid", bytes(16) + b"".join(box(*part) for part in named)))
    return box(b"ftyp", b"crx \0\0\0\1crx isom") + moov + box(b"mdat", jpeg() + SENSOR)


def raf() -> bytes:
    return b"FUJIFILMCCD-RAW 0201".ljust(148, b"\0") + jpeg(exif=b"Exif\0\0" + exif(MAIN)) + SENSOR


RAW: dict[str, Callable[[], bytes]] = {
    "NEF": lambda: tiff({254: 1}),
    "ARW": lambda: tiff({254: 1, 259: 6}),
    "PEF": lambda: tiff({259: 65535}),
    "DNG": lambda: tiff({254: 0, 50706: b"\1\4\0\0"}),
    "ORF": lambda: tiff({}, b"IIRO" if exif({})[:2] == b"II" else b"MMOR"),
    "CR2": cr2,
    "CR3": cr3,
    "RAF": raf,
}


@pytest.mark.parametrize("kind", RAW)
def test_the_preview_is_read_upright_with_place_time_and_camera(kind: str) -> None:
    data = RAW[kind]()
    picture = decode_photo(data)
    assert picture.size == SIZE[::-1]
    red, _, blue = picture.resize((1, 2)).get_flattened_data()[0]  # type: ignore[misc]
    assert red > 150 > blue  # What was left is on top.
    assert read_location(data) == pytest.approx((48.858333, 2.2945), abs=1e-5)
    assert read_capture(data) == ("Maker One 77", datetime.fromisoformat("2023-07-14T10:11:12"))


def test_a_tiff_that_is_no_raw_file_is_read_as_one() -> None:
    saved = io.BytesIO()
    Image.new("RGB", (40, 30)).save(saved, "TIFF", exif=b"Exif\0\0" + exif(MAIN))
    assert decode_photo(saved.getvalue() + jpeg()).size == (30, 40)


def test_the_largest_preview_counts_where_all_are_small() -> None:
    data = exif({**MAIN, 254: 1, 274: 1}) + jpeg((160, 120)) + jpeg((570, 375)) + jpeg((80, 60))
    assert decode_photo(data).size == (570, 375)


def test_a_raw_file_may_be_larger_than_a_photo(tmp_path: Path) -> None:
    path = tmp_path / "one.nef"
    path.write_bytes(RAW["NEF"]() + bytes(100_000))
    limits = PhotoLimits(max_bytes=100_000)
    assert len(read_photo(path, limits)) < limits.max_bytes < path.stat().st_size
    assert decode_photo(path, limits=limits).size == SIZE[::-1]


def test_the_limits_hold_for_the_preview() -> None:
    with pytest.raises(PhotoError, match="1500 x 1000") as caught:
        decode_photo(RAW["CR3"](), limits=PhotoLimits(max_pixels=1_499_999))
    assert caught.value.code == "too_many_pixels"


@pytest.mark.parametrize("kind", ["CR3", "RAF", "ORF"])
def test_a_raw_file_without_a_preview_says_so(kind: str) -> None:
    data = RAW[kind]()
    with pytest.raises(PhotoError, match="without a preview") as caught:
        decode_photo(data[: data.index(b"\xff\xd8\xff")] + SENSOR)
    assert caught.value.code == "unsupported"


def test_a_raw_file_that_is_a_tiff_without_a_preview_says_so() -> None:
    # GoPro's GPR: a DNG whose pixels are coded as no TIFF is.
    data = exif({**MAIN, 256: 40, 257: 30, 259: 9, 50706: b"\1\4\0\0"}) + SENSOR
    with pytest.raises(PhotoError, match="without a preview") as caught:
        decode_photo(data)
    assert caught.value.code == "unsupported"


def test_a_preview_that_is_cut_short_is_truncated() -> None:
    data = RAW["CR2"]()
    with pytest.raises(PhotoError) as caught:
        decode_photo(data[: data.index(b"\xff\xd8\xff\xe0") + len(jpeg()) * 3 // 4])
    assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    "filling",
    [b"\xff\xd8\xff\xe0\0\2" + b"\xff\xe0\0\2" * 99, jpeg((8, 8))[:-2], b"\xff\xd8\xff\xdb\xff"],
)
def test_a_raw_file_of_endless_previews_costs_little(filling: bytes) -> None:
    data = b"FUJIFILMCCD-RAW ".ljust(148, b"\0") + filling * (20_000_000 // len(filling))
    start = time.process_time()
    with pytest.raises(PhotoError):
        decode_photo(data)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("value", [b"\0\2\0\0\0\2", b"\0\5\0\0\0\1", b"\0\3\0\0\0\0"])
def test_marks_of_another_type_are_none(value: bytes) -> None:
    entries = b"".join(struct.pack(">H", tag) + value + bytes(4) for tag in (254, 259, 274))
    data = b"MM\0*" + struct.pack(">IH", 8, 3) + entries + jpeg()
    with pytest.raises(PhotoError):
        decode_photo(data)


@pytest.mark.parametrize("at", [4, 8, 20, 60])
def test_damaged_directories_leave_the_preview_alone(at: int) -> None:
    data = RAW["ORF"]()
    damaged = data[:at] + b"\xff" * 8 + data[at + 8 :]
    assert sorted(decode_photo(damaged).size) == sorted(SIZE)
    assert read_location(damaged) in (None, read_location(data))
