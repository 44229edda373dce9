"""Read how large the frames of an AVIF really are.

The size that the container claims (`ispe`) is only what the picture is scaled to in the end. The
decoder allocates what the AV1 stream says. See ISO 14496-12 and 23008-12 (boxes, items) and the AV1
specification, sections 5.3 to 5.9 (OBUs, sequence and frame headers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Far more than a picture has, so that a walk ends soon.
_MAX_PARTS = 10_000
# Items may name the same bytes, as equal tiles do; too many of them would copy a file many times.
_SHARED_BYTES = 1 << 20
_HEADER_BYTES = 512
_SEQUENCE_HEADER, _FRAME_HEADERS = 1, {3, 6, 7}
_KEY_FRAME, _SWITCH_FRAME = 0, 3
_CHOSEN_PER_FRAME = 2


def avif_contents(data: bytes) -> tuple[list[tuple[int, int]], int]:
    """(width, height) of every AV1 frame that may be decoded, and the bytes of EXIF.

    Tiles and alpha channels have frames of their own, and frames that are never shown count too. Of
    a sequence only the first sample is decoded.

    Raises ValueError, IndexError or struct.error when a box or a header is damaged or cut short.
    """
    sizes, exif = [], 0
    for start, end in _find(data, (0, len(data)), b"meta"):
        items = dict(_item_kinds(data, (start + 4, end)))
        for item, content in _item_contents(data, (start + 4, end)):
            if items.get(item) == b"av01":
                sizes += _frames(content)
            elif items.get(item) == b"Exif":
                exif += len(content)
    for table in _find(data, (0, len(data)), b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        for start, end in _find(data, table, b"stsd"):
            if b"av01" in data[start:end]:
                sizes += _frames(_first_sample(data, table))
    return sizes, exif


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

    def skip_counted_zeros(self) -> None:
        """Skip a uvlc(): zeros, a one, and as many bits as there were zeros."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        self.read(zeros if zeros < 32 else 0)


@dataclass(frozen=True)
class _Sequence:
    """What a frame header needs to know of its sequence header.

    largest: (width, height) that a frame of another size than `size` may have.
    """

    size: tuple[int, int]
    largest: tuple[int, int]
    may_differ: bool
    time_bits: int
    id_bits: int
    screen_content: int
    integer_motion: int


def _frames(content: bytes) -> list[tuple[int, int]]:
    """(width, height) of each frame in a run of OBUs, or of the sequence where it has none."""
    sequence, sizes = None, []
    for kind, bits in _obus(content):
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(bits)
        elif kind in _FRAME_HEADERS and sequence:
            own_size = _has_own_size(bits, sequence)
            sizes.append(sequence.largest if own_size else sequence.size)
    if sequence is None:
        raise ValueError("no AV1 sequence header")
    return sizes or [sequence.size]


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


def _sequence(bits: _Bits) -> _Sequence:
    bits.read(4)
    reduced = bits.read(1)
    time_bits = 0
    if reduced:
        bits.read(5)
    else:
        time_bits = _skip_timing(bits)
    wide, high = bits.read(4) + 1, bits.read(4) + 1
    size = bits.read(wide) + 1, bits.read(high) + 1
    id_bits, screen_content, integer_motion = 0, _CHOSEN_PER_FRAME, _CHOSEN_PER_FRAME
    if not reduced:
        if bits.read(1):
            delta = bits.read(4) + 2
            id_bits = delta + bits.read(3) + 1
        # Block size, two intra tools, four inter tools; then two that need the order of frames.
        bits.read(7)
        has_order = bits.read(1)
        bits.read(2 * has_order)
        screen_content = _CHOSEN_PER_FRAME if bits.read(1) else bits.read(1)
        if screen_content:
            integer_motion = _CHOSEN_PER_FRAME if bits.read(1) else bits.read(1)
    largest = 1 << wide, 1 << high
    return _Sequence(size, largest, not reduced, time_bits, id_bits, screen_content, integer_motion)


def _skip_timing(bits: _Bits) -> int:
    """Skip the clock and the operating points; return how many bits of time a frame carries."""
    delay_bits = time_bits = 0
    if bits.read(1):
        bits.read(64)
        equal_intervals = bits.read(1)
        if equal_intervals:
            bits.skip_counted_zeros()
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5)
            time_bits = bits.read(5) + 1
            time_bits = 0 if equal_intervals else time_bits
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
    return time_bits


def _has_own_size(bits: _Bits, sequence: _Sequence) -> bool:
    """Whether a frame header gives a size of its own (frame_size_override_flag)."""
    if not sequence.may_differ or bits.read(1):  # the second: shows a frame decoded before
        return False
    kind, shown = bits.read(2), bits.read(1)
    if shown:
        bits.read(sequence.time_bits)
    else:
        bits.read(1)
    if kind != _SWITCH_FRAME and not (kind == _KEY_FRAME and shown):
        bits.read(1)
    bits.read(1)
    screen_content = sequence.screen_content
    if screen_content == _CHOSEN_PER_FRAME:
        screen_content = bits.read(1)
    if screen_content and sequence.integer_motion == _CHOSEN_PER_FRAME:
        bits.read(1)
    bits.read(sequence.id_bits)
    return kind == _SWITCH_FRAME or bool(bits.read(1))
