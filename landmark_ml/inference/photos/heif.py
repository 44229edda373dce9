"""Read how many pixels the decoder of an AVIF or HEIC is made to decode.

The size that a picture claims (`ispe`) says little. An AVIF is only scaled to it in the end: its
decoder allocates what the AV1 stream says. A HEIC may be put together from any number of others,
each of which the decoder holds to the size that it claims. See ISO 14496-12 and 23008-12 (boxes,
items) and the AV1 specification, sections 5.3 to 5.9 (OBUs, sequence and frame headers).
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator

# Far more than a picture has, so that a walk ends soon.
_MAX_PARTS = 10_000
# Items may name the same bytes, as equal tiles do; too many of them would copy a file many times.
_SHARED_BYTES = 1 << 20
_HEADER_BYTES = 512
_SEQUENCE_HEADER, _FRAME_HEADERS = 1, {3, 6, 7}


def heif_contents(data: bytes) -> tuple[list[tuple[int, int]], int, int]:
    """(width, height) of AV1 frames, pixels of all that may be decoded, and the bytes of EXIF.

    Tiles and alpha channels have frames of their own, and frames that are never shown count too. Of
    a sequence only the first sample is decoded. Only a still picture says how large it is; other
    frames may be as large as their sequence has bits for, at most twice as wide and high.

    Raises ValueError, LookupError, RecursionError or struct.error when a box or a header is
    damaged or cut short.
    """
    sizes, composed, exif = [], 0, 0
    for start, end in _find(data, (0, len(data)), b"meta"):
        meta = start + 4, end
        items = dict(_item_kinds(data, meta))
        if b"av01" not in items.values():
            composed += _composed_pixels(data, meta)
        for item, content in _item_contents(data, meta):
            if items.get(item) == b"av01":
                sizes += _frames(content)
            elif items.get(item) == b"Exif":
                exif += len(content)
    for table in _find(data, (0, len(data)), b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        for start, end in _find(data, table, b"stsd"):
            if b"av01" in data[start:end]:
                sizes += _frames(_first_sample(data, table))
    return sizes, composed + sum(width * height for width, height in sizes), exif


def boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each box; the last may say that it ends after the data.

    Raises ValueError or struct.error when the header of a box is damaged.
    """
    for _ in range(_MAX_PARTS):
        if at + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or end - at
        if size < head:
            raise ValueError(f"a box of {size} bytes at byte {at}")
        yield name, at + head, at + size
        at += size
    raise ValueError(f"more than {_MAX_PARTS} boxes")


def _find(data: bytes, within: tuple[int, int], *path: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of the content of all boxes at a path of box names."""
    for name, start, end in boxes(data, *within):
        if name == path[0]:
            content = start, min(end, within[1])
            yield from _find(data, content, *path[1:]) if path[1:] else [content]


def _item_kinds(data: bytes, meta: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
    """(number, kind) of each item."""
    for start, end in _find(data, meta, b"iinf"):
        for entry, _ in _find(data, (start + (6 if data[start] == 0 else 8), end), b"infe"):
            number, kind = (">H", entry + 8) if data[entry] < 3 else (">I", entry + 10)
            yield struct.unpack_from(number, data, entry + 4)[0], data[kind : kind + 4]


def _item_contents(data: bytes, meta: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each item."""
    bases = [0, *(start for start, _ in _find(data, meta, b"idat"))]
    parts, left = 0, len(data) + _SHARED_BYTES
    for start, _ in _find(data, meta, b"iloc"):
        version, bits = data[start], _Bits(data, start + 4)
        offset_bytes, length_bytes, base_bytes, index_bytes = (bits.read(4) for _ in range(4))
        wide = 32 if version == 2 else 16
        for _ in range(bits.read(wide)):
            number = bits.read(wide)
            # 0: offsets into the file, 1: into the idat box. Decoders know no others.
            method = bits.read(16) & 15 if version else 0
            bits.read(16)
            base = bits.read(8 * base_bytes) + bases[method]
            content = []
            for _ in range(bits.read(16)):
                bits.read(8 * index_bytes if version else 0)
                offset, length = base + bits.read(8 * offset_bytes), bits.read(8 * length_bytes)
                content.append(data[offset : offset + length])
                parts, left = parts + 1, left - len(content[-1])
                if parts > _MAX_PARTS or left < 0:
                    raise ValueError(
                        f"over {_MAX_PARTS} parts of items, or the same bytes too often"
                    )
            yield number, b"".join(content)


def _composed_pixels(data: bytes, meta: tuple[int, int]) -> int:
    """Pixels of the pictures that one is put together from, of the item with most."""
    sizes: dict[int, int] = {}
    for start, end in _find(data, meta, b"iprp"):
        properties = [
            math.prod(struct.unpack_from(">II", data, at + 4)) if name == b"ispe" else 0
            for within in _find(data, (start, end), b"ipco")
            for name, at, _ in boxes(data, *within)
        ]
        for at, _ in _find(data, (start, end), b"ipma"):
            item_bits, index_bits = 32 if data[at] else 16, 15 if data[at + 3] & 1 else 7
            bits = _Bits(data, at + 4)
            for _ in range(bits.read(32)):
                item = bits.read(item_bits)
                for _ in range(bits.read(8)):
                    bits.read(1)
                    index = bits.read(index_bits)
                    if pixels := index and properties[index - 1]:
                        sizes[item] = max(pixels, sizes.get(item, 0))
    parts: dict[int, list[int]] = {}
    for start, end in _find(data, meta, b"iref"):
        for at, _ in _find(data, (start + 4, end), b"dimg"):
            bits, item_bits = _Bits(data, at), 32 if data[start] else 16
            named = parts.setdefault(bits.read(item_bits), [])
            named += [bits.read(item_bits) for _ in range(bits.read(16))]

    @functools.cache
    def pixels_of(item: int) -> int:
        return sum(map(pixels_of, parts[item])) if item in parts else sizes[item]

    return max(map(pixels_of, [*sizes, *parts]), default=0)


def _first_sample(data: bytes, table: tuple[int, int]) -> bytes:
    """Content of the first frame of a sequence."""
    ((at, _),) = _find(data, table, b"stsz")
    same_size, _, first_size = struct.unpack_from(">3I", data, at + 4)
    offsets = [struct.unpack_from(">I", data, at + 8)[0] for at, _ in _find(data, table, b"stco")]
    offsets += [struct.unpack_from(">Q", data, at + 8)[0] for at, _ in _find(data, table, b"co64")]
    (offset,) = offsets
    return data[offset : offset + (same_size or first_size)]


class _Bits:
    """Numbers of any width, one after the other."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, 8 * at

    def read(self, bits: int) -> int:
        self._at += bits
        first, last = (self._at - bits) // 8, (self._at + 7) // 8
        if last > len(self._data):
            raise ValueError("a header ends too early")
        number = int.from_bytes(self._data[first:last], "big")
        return number >> (8 * last - self._at) & (1 << bits) - 1


def _frames(content: bytes) -> list[tuple[int, int]]:
    """(width, height) of each frame in a run of OBUs, or of the sequence where it has none."""
    size, sizes = None, []
    for kind, bits in _obus(content):
        if kind == _SEQUENCE_HEADER:
            size = _largest_frame(bits)
        elif kind in _FRAME_HEADERS and size:
            sizes.append(size)
    if size is None:
        raise ValueError("no AV1 sequence header")
    return sizes or [size]


def _obus(content: bytes) -> Iterator[tuple[int, _Bits]]:
    """(kind, first bytes of the content) of each OBU."""
    at = 0
    for _ in range(_MAX_PARTS):
        if at >= len(content):
            return
        head = content[at]
        at += 2 if head & 4 else 1
        length = len(content) - at
        if head & 2:
            length = 0
            for place in range(8):
                byte = content[at : at + 1] or b"\0"
                length |= (byte[0] & 127) << 7 * place
                at += 1
                if byte[0] < 128:
                    break
        yield head >> 3 & 15, _Bits(content[at : at + min(length, _HEADER_BYTES)])
        at += length
    raise ValueError(f"more than {_MAX_PARTS} OBUs")


def _largest_frame(bits: _Bits) -> tuple[int, int]:
    """Largest (width, height) of a frame by the header of its sequence."""
    bits.read(4)
    is_still = bits.read(1)
    if is_still:
        bits.read(5)
    else:
        if bits.read(1):
            raise ValueError("an AVIF with the clock of a film")
        has_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if has_delay and bits.read(1):
                bits.read(4)
    wide, high = bits.read(4) + 1, bits.read(4) + 1
    size = bits.read(wide) + 1, bits.read(high) + 1
    # A frame may have a size of its own, and decoders do not hold it to that of the sequence.
    return size if is_still else (1 << wide, 1 << high)
