"""Read what a photo's header claims, before a decoder allocates memory for it."""

from __future__ import annotations

import struct

import numpy as np

JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"

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
_GIF_BLOCKS = 100_000
_JPEG_STEPS = 10_000
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xDA)})


def photo_format(data: bytes) -> str | None:
    """Name of the photo format in the first bytes; None for one that is not read here."""
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
    if data[8:12] in _HEIC_BRANDS:
        return "HEIC"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & {*_HEIC_BRANDS, b"mif1", b"msf1"} else None


def claimed_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """(width, height) for the formats whose decoder allocates while opening: WebP and GIF.

    Raises ValueError, IndexError or struct.error when the header is damaged.
    """
    if kind == "WEBP":
        return _webp_size(data)
    return _gif_size(data) if kind == "GIF" else None


def is_cut_short(data: bytes, kind: str) -> bool:
    """Whether a WebP, AVIF or HEIC file is shorter than it says."""
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    at = 0
    while kind in ("AVIF", "HEIC") and at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < 8:
            return False
        at += length
    return at > len(data)


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
            if blocks > _GIF_BLOCKS:
                raise ValueError(f"more than {_GIF_BLOCKS} blocks before the first picture")
        at += 1
    left, top, wide, high = struct.unpack_from("<4H", data, at + 1)
    # A frame may be larger than the canvas; the decoder then grows the canvas.
    return max(width, left + wide), max(height, top + high)


def jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG; 0 where there is none.

    Raises ValueError as `jpeg_scan_start` does.
    """
    start = jpeg_scan_start(data)
    if start is None:
        return 0
    values = np.frombuffer(data, dtype=np.uint8, offset=start)
    # On a large photo four times faster than bytes.count, which stops at each of its many 0xFF.
    after = values[1:][values[:-1] == 0xFF]
    ends = np.flatnonzero(after == JPEG_END[1])
    scans = after[: ends[0]] if ends.size else after
    return int(np.count_nonzero(scans == JPEG_SCAN[1]))


def jpeg_scan_start(data: bytes) -> int | None:
    """Offset of a JPEG's first scan, where its header ends; None where there is none.

    Raises ValueError for so many markers or stray bytes that the decoder would walk them for
    seconds.
    """
    at = 2
    for _ in range(_JPEG_STEPS):
        if at + 4 > len(data):
            return None
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        # Decoders skip padding and stray bytes one by one.
        if data[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker == JPEG_SCAN[1]:
            return at
        else:
            at += 2 if marker in _BARE_MARKERS else 2 + max(length, 2)
    raise ValueError(f"more than {_JPEG_STEPS} markers and stray bytes before the first scan")


def tiff_longest_array(data: bytes) -> int:
    """Largest number of values that one numeric tag of a TIFF's first directory claims.

    Raises struct.error when the directory is not within the file.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    entry, step = (order + "HHQ", 20) if big else (order + "HHI", 12)
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    if at >= len(data):
        raise struct.error(f"directory at byte {at} of {len(data)}")
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    longest = 0
    for position in range(at, min(at + entries * step, len(data) - step + 1), step):
        _, kind, count = struct.unpack_from(entry, data, position)
        longest = max(longest, 0 if kind in _TIFF_TYPE_BYTES else count)
    return longest
