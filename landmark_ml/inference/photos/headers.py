"""Read what a photo's header claims, and refuse it before a decoder spends memory or time on it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from landmark_ml.inference.photos.heif import boxes, heif_contents

PhotoErrorCode = Literal[
    "empty", "not_an_image", "truncated", "too_many_bytes", "too_many_pixels", "unsupported"
]

MAX_EXIF_BYTES = 1 << 20
"""Cameras write one block of up to 64 KiB."""

# PIL keeps a pointer for each row, so a picture of 1 x 60,000,000 pixels takes far more memory.
_MAX_SIDE = 100_000
# Each scan decodes the whole picture again. Progressive photos have 10 scans, CMYK ones 18.
_MAX_JPEG_SCANS = 200
_MAX_FULL_SIZE_SCANS = 20
_MAX_PNG_CHUNKS = 100_000
_MAX_TIFF_TAGS = 10_000
_MAX_TIFF_ARRAY = 200_000
_MAX_EXIF_VALUES = 10_000
# AVIF and HEIC also hold an alpha channel, and tiles reach beyond the edge. Each frame and tile
# costs the CPU of its pixels, shown or not.
_MAX_HEIF_COPIES = 3
# PIL decodes every WebP with the animation decoder, which takes about twice the memory.
_COPIES = {"WEBP": 2}

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"FUJIFILMCCD-RAW", "RAW"),
    (b"IIRO", "RAW"),
    (b"IIRS", "RAW"),
    (b"MMOR", "RAW"),
    (b"IIU\0", "RAW"),
)
_OTHER_PICTURES = (
    (b"8BPS", "PSD"),
    (b"%!PS", "EPS"),
    (b"%PDF", "PDF"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_TIFF_TYPE_BYTES = {1, 2, 6, 7}
_MAX_GIF_BLOCKS = 100_000
_MAX_JPEG_STEPS = 10_000
_JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xDA)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ARITHMETIC = 0xC9
_JPEG_END, _JPEG_SCAN, _JPEG_TABLES, _JPEG_EXIF, _JPEG_PHOTOSHOP = 0xD9, 0xDA, 0xDB, 0xE1, 0xED
# Within a scan FF 00 is a value and FF D0 to D7 are restarts. All else ends the scan.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BMP_RUN_LENGTHS = (1, 2)


class PhotoError(ValueError):
    """A photo that is refused: a stable `code`, a `reason` with the fix, the file's `name`."""

    def __init__(self, code: PhotoErrorCode, reason: str, name: str | None = None) -> None:
        # Decoders' messages, quoted in reasons, may run over several lines.
        reason = " ".join(reason.split())
        super().__init__(f"{name}: {reason}" if name else reason)
        self.code: PhotoErrorCode = code
        self.reason = reason
        self.name = name

    def __reduce__(self) -> tuple[type[PhotoError], tuple[PhotoErrorCode, str, str | None]]:
        """Rebuild from the three fields: exceptions otherwise unpickle from their message alone."""
        return type(self), (self.code, self.reason, self.name)


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """Largest photo to decode: bytes of the file, pixels of the picture at full size.

    A WebP may have half the pixels. At the default limits decoding peaks at about 600 MB.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = PhotoLimits()


def photo_format(data: bytes) -> str | None:
    """Name of the photo format in the first bytes; None for one that is not read here.

    RAW is a camera's, except for those that begin as a TIFF.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _heif_format(data)
    return _by_signature(data, _SIGNATURES)


def other_format(data: bytes) -> str | None:
    """Name of a picture or page format that is refused; None when it is unknown."""
    return _by_signature(data, _OTHER_PICTURES)


def _by_signature(data: bytes, signatures: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((name for start, name in signatures if data.startswith(start)), None)


def _heif_format(data: bytes) -> str | None:
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}
    if data[8:12] == b"crx ":
        return "RAW"
    if data[8:12] in _HEIC_BRANDS:
        return "HEIC"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & {*_HEIC_BRANDS, b"mif1", b"msf1"} else None


def check_header(data: bytes, kind: str, limits: PhotoLimits) -> None:
    """Refuse a picture that is too large, or made to keep its decoder busy.

    JPEG, PNG and BMP tell their size to PIL without allocating anything: see `check_size`.

    Raises PhotoError, and ValueError, IndexError or struct.error when the header is damaged.
    """
    if kind == "JPEG":
        _check_jpeg(data, limits)
    elif kind == "PNG":
        _check_png(data)
    elif kind == "BMP":
        _check_bmp(data)
    elif kind == "TIFF":
        _check_tiff(data)
    elif kind in ("AVIF", "HEIC"):
        _check_heif(data, limits, kind)
    elif kind == "WEBP":
        check_size(_webp_size(data), limits, kind)
    elif kind == "GIF":
        check_size(_gif_size(data), limits, kind)


def check_size(size: tuple[int, int], limits: PhotoLimits, kind: str) -> None:
    """Refuse a (width, height) of too many pixels, or with a side no photo has."""
    width, height = size
    most = limits.max_pixels // _COPIES.get(kind, 1)
    if width * height > most:
        reason = f"{width} x {height} is over the limit of {most:,} pixels for a {kind}"
        raise PhotoError("too_many_pixels", f"{reason}: export it smaller")
    if max(size) > _MAX_SIDE:
        reason = f"{width} x {height} has a side over {_MAX_SIDE:,} pixels: crop it"
        raise PhotoError("too_many_pixels", reason)


def is_cut_short(data: bytes, kind: str) -> bool:
    """Whether a WebP, AVIF or HEIC file is shorter than it says."""
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind not in ("AVIF", "HEIC"):
        return False
    try:
        return any(end > len(data) for _, _, end in boxes(data, 0, len(data)))
    except (ValueError, struct.error):
        return False


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = data[24:27] + b"\0", data[27:30] + b"\0"
        return struct.unpack("<I", width)[0] + 1, struct.unpack("<I", height)[0] + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width16, height16 = struct.unpack_from("<HH", data, 26)
    return width16 & 0x3FFF, height16 & 0x3FFF


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while data[at] != ord(","):
        # Decoders disagree about where an empty extension ends, so refuse it.
        if data[at] != ord("!") or (data[at + 2] == 0 and data[at + 1] != 0xFE):
            raise ValueError(f"no picture block at byte {at}")
        at += 2
        while data[at]:
            at, blocks = at + data[at] + 1, blocks + 1
            if blocks > _MAX_GIF_BLOCKS:
                raise ValueError(f"more than {_MAX_GIF_BLOCKS} blocks before the first picture")
        at += 1
    left, top, wide, high = struct.unpack_from("<4H", data, at + 1)
    # A frame may be larger than the canvas; the decoder then grows the canvas.
    return max(width, left + wide), max(height, top + high)


def _check_jpeg(data: bytes, limits: PhotoLimits) -> None:
    scans = pixels = parsed = 0
    for marker, at, length in _jpeg_segments(data):
        if marker == _JPEG_SCAN:
            scans += 1
        elif marker in _JPEG_FRAMES:
            if marker >= _JPEG_ARITHMETIC:
                reason = "a JPEG with arithmetic coding is not read: save it again"
                raise PhotoError("unsupported", reason)
            height, width = struct.unpack_from(">HH", data, at + 5)
            pixels = max(pixels, width * height)
        # PIL reads the content of these in Python, value by value.
        costly = marker in (_JPEG_TABLES, _JPEG_PHOTOSHOP) or marker in _JPEG_FRAMES
        if not scans and (costly or _is_exif(data, marker, at)):
            parsed += length
    if parsed > MAX_EXIF_BYTES:
        reason = f"a JPEG of {parsed:,} bytes of EXIF and tables is over {MAX_EXIF_BYTES:,}"
        raise PhotoError("unsupported", f"{reason}: export it without metadata")
    if scans > min(_MAX_JPEG_SCANS, _MAX_FULL_SIZE_SCANS * limits.max_pixels // max(pixels, 1)):
        reason = f"a JPEG of {scans} scans of {pixels:,} pixels takes too long to decode"
        raise PhotoError("unsupported", f"{reason}: save it again")


def jpeg_has_exif(data: bytes) -> bool:
    """Whether a JPEG carries EXIF. Cheaper than opening it: many carry none.

    Raises ValueError for more markers or stray bytes than a decoder walks in a moment.
    """
    for marker, at, _ in _jpeg_segments(data):
        if marker == _JPEG_SCAN:
            return False
        if _is_exif(data, marker, at):
            return True
    return False


def _is_exif(data: bytes, marker: int, at: int) -> bool:
    return marker == _JPEG_EXIF and data.startswith(b"Exif\0\0", at + 4)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, offset, bytes) of each segment up to the end of the picture, as decoders walk them.

    A scan is given as its header; the walk goes on behind its pixels. Raises ValueError for too
    many markers and stray bytes.
    """
    at, in_scan = 2, False
    for _ in range(_MAX_JPEG_STEPS):
        if at + 4 > len(data):
            return
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or marker in (0x00, 0xFF):
            # Decoders skip padding and stray bytes one by one; in a scan these are pixels.
            found = _JPEG_MARKER.search(data, at) if in_scan else None
            if in_scan and found is None:
                return
            at = found.start() if found else at + 1
        elif marker in _JPEG_BARE_MARKERS:
            if in_scan and marker == _JPEG_END:
                return
            at += 2
        else:
            yield marker, at, length
            in_scan = in_scan or marker == _JPEG_SCAN
            at += 2 + max(length, 2)
    raise ValueError(f"more than {_MAX_JPEG_STEPS} markers and stray bytes")


def _check_png(data: bytes) -> None:
    at, chunks, profiles, kind = 8, 0, 0, b""
    while at + 8 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks, profiles = chunks + 1, profiles + (kind == b"iCCP")
        # Each profile is unpacked, up to 1 MiB from 1 KiB.
        if chunks > _MAX_PNG_CHUNKS or profiles > 1:
            reason = f"a PNG of over {_MAX_PNG_CHUNKS:,} chunks or with two colour profiles"
            raise PhotoError("unsupported", f"{reason}: save it again")
        at += 12 + length


def _check_bmp(data: bytes) -> None:
    header, compression = struct.unpack_from("<I12xI", data, 14)
    # PIL decodes these byte by byte in Python.
    if header > 12 and compression in _BMP_RUN_LENGTHS:
        raise PhotoError("unsupported", "a run-length coded BMP is not read: save it as PNG")


def _check_tiff(data: bytes) -> None:
    counts = _tiff_counts(data, None)
    if not counts:
        raise struct.error(f"no directory in {len(data)} bytes")
    if max(counts) > _MAX_TIFF_ARRAY:
        reason = f"a TIFF tag of {max(counts)} values is over {_MAX_TIFF_ARRAY}: save it again"
        raise PhotoError("unsupported", reason)


def check_tiff_exif(data: bytes, at: int) -> None:
    """Refuse a TIFF whose directory of EXIF at a byte holds far more numbers than a camera writes.

    PIL reads them all when it decodes the pixels.
    """
    if sum(_tiff_counts(data, at)) > _MAX_EXIF_VALUES:
        reason = f"a TIFF with EXIF of more than {_MAX_EXIF_VALUES:,} values"
        raise PhotoError("unsupported", f"{reason}: export it without metadata")


def _tiff_counts(data: bytes, at: int | None) -> list[int]:
    """How many numbers each tag of a directory claims, 0 for text and bytes."""
    entries = tiff_entries(data, at)
    return [0 if kind in _TIFF_TYPE_BYTES else count for _, kind, count, _ in entries]


def tiff_entries(data: bytes, at: int | None) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, offset of its value or of where that is) in a TIFF's directory at a byte.

    at: None for the first directory. Nothing is given of one that is not within the file. Raises
    PhotoError for too many tags, struct.error for a file without a header.
    """
    order, big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    entry, step = (order + "HHQ", 20) if big else (order + "HHI", 12)
    width = 8 if big else 2
    if at is None:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    if not 0 <= at <= len(data) - width:
        return
    (tags,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    first = at + width
    end = min(first + tags * step, len(data) - step + 1)
    if (end - first) // step > _MAX_TIFF_TAGS:
        raise PhotoError("unsupported", f"a TIFF of {tags:,} tags is over {_MAX_TIFF_TAGS:,}")
    for position in range(first, end, step):
        yield *struct.unpack_from(entry, data, position), position + step - (8 if big else 4)


def _check_heif(data: bytes, limits: PhotoLimits, kind: str) -> None:
    sizes, pixels, exif = heif_contents(data)
    for size in sizes:
        check_size(size, limits, kind)
    if pixels > _MAX_HEIF_COPIES * limits.max_pixels:
        reason = f"{kind} whose parts have {pixels:,} pixels in all: export it smaller"
        raise PhotoError("too_many_pixels", reason)
    if exif > MAX_EXIF_BYTES:
        reason = f"{exif:,} bytes of EXIF are over {MAX_EXIF_BYTES:,}: export it without metadata"
        raise PhotoError("unsupported", reason)
