"""Photos made to exhaust the machine: refused by their header, cheaply, with the right code."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from landmark_ml.inference.photos import (
    PhotoError,
    PhotoLimits,
    decode_photo,
    headers,
    read_location,
)
from landmark_ml.inference.photos.heif import boxes, heif_contents

ROOT = Path(__file__).parents[3]
GROWTH_MB = 400


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(40)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + png_chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    sizes = struct.pack("<IiiHH", 40, width, height, 1, 24)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + sizes + bytes(24)


def gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    start = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0, 0, 0)
    # Disposal 2 asks the decoder for a frame-sized fill while opening.
    control = b"!\xf9\x04\x08\0\0\0\0"
    return start + control + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x02\0;"


def tiff(width: int, height: int, *tags: tuple[int, int, int]) -> bytes:
    """Grey TIFF whose extra tags are (number, count, value) of 32 bits."""
    plain = [(256, 1, width), (257, 1, height), (258, 1, 8), (262, 1, 1), (277, 1, 1)]
    entries = sorted([*plain, *tags])
    body = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4096)


def webp_extended(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + chunk + bytes(60)


def webp_lossless(width: int, height: int) -> bytes:
    bits = struct.pack("<I", (height - 1) << 14 | (width - 1))
    return b"RIFF" + struct.pack("<I", 92) + b"WEBPVP8L" + struct.pack("<I", 80) + b"/" + bits * 19


def encoded(
    kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **options: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def many_scans(scans: int, *, size: tuple[int, int] = (64, 64), before: bytes = b"") -> bytes:
    """Progressive JPEG that claims a size, and repeats its last scan behind some bytes."""
    whole = encoded("JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    whole = whole[:-2] + before + last * scans + whole[-2:]
    frame = whole.index(b"\xff\xc2") + 5
    return whole[:frame] + struct.pack(">HH", *size[::-1]) + whole[frame + 4 :]


def arithmetic(marker: int) -> bytes:
    return encoded("JPEG", progressive=True).replace(b"\xff\xc2", bytes([0xFF, marker]))


def jpeg_with(*segments: bytes) -> bytes:
    plain = encoded("JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def bmp_of_runs(compression: int) -> bytes:
    sizes = struct.pack("<IiiHHIIiiII", 40, 60_000, 900, 1, 8, compression, 0, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 62) + sizes + bytes(8) + b"\0\0" * 900 + b"\0\1"


def tiff_with_exif(directory: int, values: int) -> bytes:
    at = 1000
    body = tiff(8, 8, (273, 1, 200), (279, 1, 64), (directory, 1, at))
    position = struct.pack("<HHHII", 1, 2, 5, values, at + 100)
    return body[:at] + position.ljust(100, b"\0") + b"\1\0\0\0\7\0\0\0" * values


def big_tiff(tags: int) -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, tags) + bytes(20 * tags)


def lying_heic(claim: tuple[int, int] = (64, 64)) -> bytes:
    """HEIC of 4 megapixels whose container claims less."""
    size = (2048, 2048)
    return encoded("HEIF", size).replace(struct.pack(">II", *size), struct.pack(">II", *claim))


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def children(content: bytes) -> dict[bytes, bytes]:
    return {name: content[at:end] for name, at, end in boxes(content, 0, len(content))}


def tiled_heic(tiles: int) -> bytes:
    """HEIC of 64 x 64 that is a grid of one picture of 4 megapixels, named many times."""
    found = children(encoded("HEIF", (2048, 2048)))
    meta = children(found[b"meta"][4:])
    properties = children(meta[b"iprp"])
    number = len(children(properties[b"ipco"]))
    size = box(b"ispe", struct.pack(">III", 0, 64, 64))
    given = properties[b"ipma"][10:]
    named = struct.pack(">II", 0, 2) + b"\0\1" + given + b"\0\2\1" + bytes([number + 1])
    kinds = [struct.pack(">IHH4sx", 2 << 24, *kind) for kind in ((1, 0, b"hvc1"), (2, 0, b"grid"))]
    grid = bytes([0, 0, 0, tiles - 1]) + struct.pack(">HH", 64, 64)

    def file(at: int) -> bytes:
        place = struct.pack(">IHHHHHHII", 1 << 24, 0x4400, 2, 1, 0, 0, 1, at, len(found[b"mdat"]))
        parts = (
            box(b"hdlr", meta[b"hdlr"]),
            box(b"pitm", struct.pack(">IH", 0, 2)),
            box(b"iinf", struct.pack(">IH", 0, 2) + b"".join(box(b"infe", kind) for kind in kinds)),
            box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HH", 2, tiles) + b"\0\1" * tiles)),
            box(b"iprp", box(b"ipco", properties[b"ipco"] + size) + box(b"ipma", named)),
            box(b"idat", grid),
            box(b"iloc", place + struct.pack(">HHHHII", 2, 1, 0, 1, 0, len(grid))),
        )
        start = box(b"ftyp", found[b"ftyp"]) + box(b"meta", bytes(4) + b"".join(parts))
        return start + box(b"mdat", found[b"mdat"])

    return file(len(file(0)) - len(found[b"mdat"]))


def lying_avif(size: tuple[int, int] = (40, 30)) -> bytes:
    """AVIF of some size whose container claims 8 x 8."""
    whole = encoded("AVIF", size, speed=10)
    claim = whole.index(b"ispe") + 8
    return whole[:claim] + struct.pack(">II", 8, 8) + whole[claim + 8 :]


def avif_frame(stream: str, times: int = 1) -> bytes:
    """AVIF of 40 x 30 whose picture is replaced by OBUs of bits: a sequence and frame headers."""
    whole = encoded("AVIF", (40, 30), speed=10)
    at = whole.index(b"mdat") + 4
    obus = b""
    for kind, bits in zip((1, 3), stream.split("|"), strict=True):
        plain = bits.replace(" ", "")
        content = int(plain.ljust(-(-len(plain) // 8) * 8, "0"), 2).to_bytes(-(-len(plain) // 8))
        obus += (bytes([kind << 3 | 2, len(content)]) + content) * (times if kind == 3 else 1)
    assert len(whole) - at >= len(obus)
    return whole[:at] + obus + bytes([15 << 3]) + whole[at + len(obus) + 1 :]


# Sequence: profile, still, reduced; timing; display delay; one operating point; 14 and 14 bits of
# size, 8 x 8; no frame ids; tools; no order; screen content and whole-pixel motion per frame.
SEQUENCE = f"000 0 0 0 0 00000 {'0' * 12} 00000 1101 1101 {7:014b} {7:014b} 0 0000000 0 1 1"
SMALL = SEQUENCE.replace(f"1101 1101 {7:014b} {7:014b}", f"0010 0010 {7:03b} {7:03b}")
# Frame: not shown before; key frame; shown; CDF update; screen content; size of its own or not.
FRAME = "0 00 1 0 0"


def padded_jpeg(padding: bytes, times: int = 1_000_000) -> bytes:
    """A good JPEG that begins with bytes its decoder walks over one by one."""
    return jpeg_with(b"\xff\xfe\0\2", padding * times)


@cache
def hostile() -> dict[str, tuple[str, bytes]]:
    text = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1 << 20)))
    profile = png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1 << 27), 1))
    return {
        "png": ("too_many_pixels", png(100_000, 100_000)),
        "png past PIL's warning": ("too_many_pixels", png(10_000, 10_000)),
        "png of one column": ("too_many_pixels", png(1, 60_000_000)),
        "png of much text": ("not_an_image", png(3, 3, text * 500)),
        "png of a swollen profile": ("not_an_image", png(3, 3, profile)),
        "bmp": ("too_many_pixels", bmp(100_000, 100_000)),
        "bmp upside down": ("too_many_pixels", bmp(100_000, -100_000)),
        "gif": ("too_many_pixels", gif((65_535, 65_535), (65_535, 65_535))),
        "gif frame": ("too_many_pixels", gif((8, 8), (10_000, 10_000))),
        "gif blocks": ("not_an_image", gif((8, 8), (8, 8))[:13] + b"!\xfe" + b"\x01a" * 10**6),
        "tiff": ("too_many_pixels", tiff(100_000, 100_000, (273, 1, 200), (279, 1, 9))),
        "tiff tile": ("unsupported", tiff(9, 9, (322, 1, 40_000), (323, 1, 40_000), (324, 1, 99))),
        "tiff strips": ("unsupported", tiff(9, 9, (273, 9_000_000, 99), (279, 1, 9))),
        "webp canvas": ("too_many_pixels", webp_extended(16_384, 16_384)),
        "webp lossless": ("too_many_pixels", webp_lossless(16_384, 16_384)),
        "jpeg scans": ("unsupported", many_scans(300)),
        "jpeg scans of a large photo": ("unsupported", many_scans(30, size=(8000, 8000))),
        "jpeg scans behind a comment": (
            "unsupported",
            many_scans(300, before=segment(0xFE, b"\xff\xd9")),
        ),
        "jpeg arithmetic": ("unsupported", arithmetic(0xCA)),
        "jpeg exif": ("unsupported", jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 20)),
        "jpeg tables": ("unsupported", jpeg_with(segment(0xDB, bytes(65) * 1000) * 20)),
        "jpeg frames": ("unsupported", jpeg_with(segment(0xC0, bytes(64_000)) * 20)),
        "png chunks": ("unsupported", png(3, 3, png_chunk(b"abCd", b"") * 200_000)),
        "png profiles": ("unsupported", png(3, 3, png_chunk(b"iCCP", b"icc\0\0") * 2)),
        "bmp run lengths": ("unsupported", bmp_of_runs(1)),
        "bmp short run lengths": ("unsupported", bmp_of_runs(2)),
        "tiff position": ("unsupported", tiff_with_exif(34853, 1_000_000)),
        "tiff details": ("unsupported", tiff_with_exif(34665, 1_000_000)),
        "tiff fax": ("unsupported", tiff(600, 100_000, (259, 1, 3), (273, 1, 300), (279, 1, 4000))),
        "tiff tags": ("unsupported", big_tiff(100_000)),
        "avif frame": ("too_many_pixels", avif_frame(f"{SEQUENCE} | {FRAME} 1")),
        "heic tiles": ("too_many_pixels", tiled_heic(255)),
        "heic frame": ("too_many_pixels", lying_heic()),
        "jpeg padding": ("not_an_image", padded_jpeg(b"\xff")),
        "jpeg stray bytes": ("not_an_image", padded_jpeg(b"\0")),
        "jpeg markers": ("not_an_image", padded_jpeg(b"\xff\xd8")),
        "jpeg comments": ("not_an_image", padded_jpeg(b"\xff\xfe\0\0")),
    }


NAMES = list(hostile())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", NAMES)
def test_hostile_photos_are_refused_without_a_warning(case: str) -> None:
    code, data = hostile()[case]
    with pytest.raises(PhotoError) as caught:
        decode_photo(data)
    assert caught.value.code == code


def test_photos_like_the_hostile_ones_are_read() -> None:
    comment = segment(0xFE, b"\xff\xd9\xff\xda" * 300)
    assert decode_photo(many_scans(20, before=comment)).size == (64, 64)
    assert decode_photo(encoded("JPEG", mode="CMYK", progressive=True)).size == (64, 64)
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(60_000))
    assert decode_photo(jpeg_with(extended * 100)).size == (64, 64)
    assert decode_photo(png(3, 3, png_chunk(b"abCd", b"") * 1000)).size == (3, 3)
    assert decode_photo(tiff_with_exif(34853, 3)).size == (8, 8)


def test_tiles_of_a_heic_count_as_often_as_they_are_named() -> None:
    assert decode_photo(tiled_heic(1)).size == (64, 64)
    assert heif_contents(tiled_heic(7))[1] == 7 * 2048 * 2048


def test_a_progressive_photo_of_64_megapixels_passes_the_header_check() -> None:
    headers.check_header(many_scans(8, size=(8000, 8000)), "JPEG", PhotoLimits())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_the_frame_of_an_avif_counts_not_what_its_container_claims(mode: str) -> None:
    data = encoded("AVIF", (40, 30), mode, speed=10)
    assert set(heif_contents(data)[0]) == {(40, 30)}
    assert len(heif_contents(data)[0]) == 1 + (mode == "RGBA")
    with pytest.raises(PhotoError, match="40 x 30") as caught:
        decode_photo(lying_avif(), limits=PhotoLimits(max_pixels=1199))
    assert caught.value.code == "too_many_pixels"


def test_the_first_frame_of_an_avif_sequence_counts() -> None:
    frames = [Image.effect_noise((40, 30), 99 + number) for number in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", speed=10, save_all=True, append_images=frames[1:])
    sizes, *_ = heif_contents(buffer.getvalue())
    assert len(sizes) > 1
    assert set(sizes) == {(64, 32)}  # What the bits of their size can say.


def test_a_frame_of_an_avif_may_say_that_it_is_larger_than_its_sequence() -> None:
    assert heif_contents(avif_frame(f"{SEQUENCE} | {FRAME} 1"))[0] == [(1 << 14, 1 << 14)]


def test_an_avif_with_the_clock_of_a_film_is_refused() -> None:
    with pytest.raises(PhotoError, match="the clock of a film") as caught:
        decode_photo(avif_frame(f"000 0 0 1{SEQUENCE[8:]} | {FRAME} 0"))
    assert caught.value.code == "not_an_image"


def test_every_frame_of_an_avif_counts_even_when_none_but_the_last_is_shown() -> None:
    frames = f"{SMALL} | {FRAME} 0"
    assert heif_contents(avif_frame(frames, times=5))[0] == [(8, 8)] * 5
    with pytest.raises(PhotoError, match="320 pixels in all") as caught:
        decode_photo(avif_frame(frames, times=5), limits=PhotoLimits(max_pixels=100))
    assert caught.value.code == "too_many_pixels"


def test_an_avif_that_names_its_picture_many_times_is_refused_before_it_is_copied() -> None:
    whole = encoded("AVIF", (40, 30), speed=10)
    at, meta = whole.index(b"iloc"), whole.index(b"meta") - 4
    extents = 5_000
    grown = 8 * (extents - 1)
    start, length = struct.unpack_from(">II", whole, at + 18)
    picture = struct.pack(">II", start + grown, length)
    # A picture of 1 MB: over its own end there is nothing but padding.
    padding = struct.pack(">II", len(whole) + grown, 1 << 20) * (extents - 1)
    iloc = struct.pack(">I", 30 + grown) + whole[at : at + 16] + struct.pack(">H", extents)
    sized = struct.pack(">I", struct.unpack_from(">I", whole, meta)[0] + grown)
    data = whole[: at - 4] + iloc + picture + padding + whole[at + 26 :] + bytes(1 << 20)
    data = data[:meta] + sized + data[meta + 4 :]
    with pytest.raises(ValueError, match="the same bytes too often"):
        heif_contents(data)
    with pytest.raises(PhotoError, match="cannot be read"):
        decode_photo(data)


def test_an_avif_of_much_exif_is_refused() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * (1 << 20)
    with pytest.raises(PhotoError, match="EXIF") as caught:
        decode_photo(encoded("AVIF", speed=10, exif=exif))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("padding", [b"\xff", b"\0", b"\xff\xfe\0\2"])
def test_a_jpeg_of_some_padding_is_read(padding: bytes) -> None:
    assert decode_photo(padded_jpeg(padding, times=5_000)).size == (64, 64)


@pytest.mark.parametrize("case", ["jpeg padding", "jpeg stray bytes"])
def test_a_position_is_not_sought_behind_endless_padding(case: str) -> None:
    assert read_location(hostile()[case][1]) is None


PROBE = """
import json, sys
from pathlib import Path
from landmark_ml.inference.photos import PhotoError, decode_photo

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

start = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_photo(path)
    except PhotoError:
        pass
print(json.dumps(peak() - start))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_hostile_photos_cost_little_memory(tmp_path: Path) -> None:
    for number, case in enumerate(NAMES):
        (tmp_path / f"{number}.bin").write_bytes(hostile()[case][1])
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    done = subprocess.run(  # noqa: S603 - our own interpreter on our own script
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) < GROWTH_MB


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "AVIF"])
def test_pixel_limit_holds_to_the_pixel(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, kind)
    assert decode_photo(buffer.getvalue(), limits=PhotoLimits(max_pixels=1200)).size == (40, 30)
    with pytest.raises(PhotoError, match="40 x 30") as caught:
        decode_photo(buffer.getvalue(), limits=PhotoLimits(max_pixels=1199))
    assert caught.value.code == "too_many_pixels"


def test_webp_may_have_half_the_pixels() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "WEBP")
    assert decode_photo(buffer.getvalue(), limits=PhotoLimits(max_pixels=2400)).size == (40, 30)
    with pytest.raises(PhotoError, match="1,199 pixels"):
        decode_photo(buffer.getvalue(), limits=PhotoLimits(max_pixels=2399))


def test_byte_limit_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PhotoError, match=r"^long\.jpg: ") as caught:
        decode_photo(path)
    assert caught.value.code == "too_many_bytes"
    with pytest.raises(PhotoError, match="over the limit of 10:"):
        decode_photo(bytes(11), limits=PhotoLimits(max_bytes=10))


def test_an_endless_device_is_refused_instead_of_read() -> None:
    device = Path("/dev/zero")
    if not device.exists():
        pytest.skip("no endless device here")
    with pytest.raises(PhotoError) as caught:
        decode_photo(device)
    assert caught.value.code == "not_an_image"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_among_photos_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(PhotoError) as refused:
        decode_photo(pipe)
    assert refused.value.code == "not_an_image"
    assert "pipe" in refused.value.reason


def test_damaged_tags_fill_no_log(tmp_path: Path) -> None:
    tags = [struct.pack("<HHII", tag, 7, 500_000, 8) for tag in range(1, 100)]
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    saved = io.BytesIO()
    Image.new("RGB", (8, 8)).save(saved, "JPEG")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(saved.getvalue()[:2] + segment + saved.getvalue()[2:])
    # In a process of its own: pytest has filters of its own.
    code = (
        "import sys, pathlib; from landmark_ml.inference.photos import decode_photo;"
        "decode_photo(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(photo)]
    said = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - our own command
    assert said.stderr == b""
