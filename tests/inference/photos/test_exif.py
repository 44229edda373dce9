"""EXIF that turns a photo or places it on the map, and EXIF that lies."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from landmark_ml.inference.photos import decode_photo, read_capture, read_location

PARIS = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.2)}


def photo(exif: Image.Exif | bytes, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 30)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def gps_photo(tags: dict[int, Any], kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    # PIL takes an Exif of sub-directories alone for an empty one.
    exif[ExifTags.Base.Make] = "camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(tags)
    return photo(exif.tobytes(), kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_position_is_read_in_every_format(kind: str) -> None:
    assert read_location(gps_photo(PARIS, kind)) == pytest.approx((48.858333, 2.2945), abs=1e-5)


@pytest.mark.parametrize(("north", "east"), [("N", "E"), ("S", "E"), ("N", "W"), ("S", "W")])
def test_hemispheres_give_the_sign(north: str, east: str) -> None:
    location = read_location(gps_photo({**PARIS, 1: north, 3: east}))
    assert location is not None
    assert (location[0] > 0, location[1] > 0) == (north == "N", east == "E")


@pytest.mark.parametrize(
    "change",
    [
        {2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)},
        {2: (91.0, 0.0, 0.0)},
        {4: (180.0, 0.0, 1.0)},
        {2: (48.0, 61.0, 0.0)},
        {2: (48.0, 51.0)},
        {1: "Q"},
        {1: "E"},
        {1: ""},
        {3: ""},
        {2: ((48, 0), (0, 0), (0, 0))},
    ],
)
def test_unsound_positions_are_none(change: dict[int, Any]) -> None:
    tags = {**PARIS, **change}
    if isinstance(tags[2][0], tuple):
        clean = gps_photo(PARIS)
        # Rationals over zero cannot be written through PIL: zero the denominator of 48/1.
        data = clean.replace(b"\0\0\0\x30\0\0\0\x01", b"\0\0\0\x30\0\0\0\0")
        assert data != clean
    else:
        data = gps_photo(tags)
    assert read_location(data) is None


def snapshot(kind: str = "JPEG", **tags: str) -> bytes:
    exif, named = Image.Exif(), {"Make": "Canon", "Model": "EOS 5D", **tags}
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for name, value in named.items():
        part = exif if name in ("Make", "Model") else details
        part[ExifTags.Base[name]] = value
    return photo(exif.tobytes(), kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_camera_and_time_are_read(kind: str) -> None:
    data = snapshot(kind, DateTimeOriginal="2023:07:14 10:11:12", BodySerialNumber="77")
    assert read_capture(data) == ("Canon EOS 5D 77", datetime(2023, 7, 14, 10, 11, 12))


def test_a_big_tiff_tells_its_time_too() -> None:
    def directory(*entries: tuple[int, int, int, int]) -> bytes:
        packed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        return (struct.pack("<Q", len(entries)) + packed + bytes(8)).ljust(400, b"\0")

    # Width, height, bits, coding, photometry, where 64 grey pixels are, how many, and the EXIF.
    plain = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 816, 279: 64}
    main = directory(*((tag, 4, 1, value) for tag, value in plain.items()), (34665, 16, 1, 416))
    details = directory((36867, 2, 20, 880))
    head = b"II+\0" + struct.pack("<HHQ", 8, 0, 16)
    data = head + main + details + bytes(64) + b"2023:07:14 10:11:12\0"
    assert decode_photo(data).size == (8, 8)
    assert read_capture(data) == ("", datetime(2023, 7, 14, 10, 11, 12))


@pytest.mark.parametrize("taken", ["", "0000:00:00 00:00:00", "2023:07:14", "yesterday"])
def test_a_time_that_is_none_is_none(taken: str) -> None:
    assert read_capture(snapshot(DateTimeOriginal=taken)) is None


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_capture_never_raises(draw: st.DataObject) -> None:
    data = bytearray(snapshot(DateTimeOriginal="2023:07:14 10:11:12"))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(20, 150))] = draw.draw(st.integers(0, 255))
    found = read_capture(bytes(data))
    assert found is None or isinstance(found[1], datetime)


def test_no_exif_or_no_photo_is_none() -> None:
    assert read_capture(photo(Image.Exif())) is None
    assert read_capture(gps_photo(PARIS)) is None
    assert read_capture(b"<svg/>") is None
    assert read_location(photo(Image.Exif())) is None
    assert read_location(photo(Image.Exif(), "PNG")) is None
    assert read_location(b"") is None
    assert read_location(b"<svg/>") is None


def test_equator_and_meridian_alone_are_places() -> None:
    assert read_location(gps_photo({**PARIS, 2: (0.0, 0.0, 0.0)})) == pytest.approx((0, 2.2945))


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=120))
def test_any_exif_leaves_the_picture_alone(garbage: bytes) -> None:
    data = photo(b"Exif\0\0" + garbage)
    assert read_location(data) is None
    assert decode_photo(data).getpixel((3, 3)) == pytest.approx((200, 30, 30), abs=4)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_positions_never_raise(draw: st.DataObject) -> None:
    data = bytearray(gps_photo(PARIS))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(20, 190))] = draw.draw(st.integers(0, 255))
    location = read_location(bytes(data))
    if location is not None:
        assert -90 <= location[0] <= 90
        assert -180 <= location[1] <= 180


def test_orientation_out_of_range_or_huge_exif_counts_as_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    assert decode_photo(photo(exif)).size == (24, 16)
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "x" * (1 << 20)
    assert decode_photo(photo(exif, "PNG")).size == (24, 16)
