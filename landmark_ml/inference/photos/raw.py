"""Read a camera's raw file by the JPEG in it, which shows the photo as the camera developed it.

Raw formats differ in all else, but each holds such a JPEG whole. So it is looked for by its first
bytes, and no sensor data is ever decoded.
"""

from __future__ import annotations

import logging
import re
import struct
from itertools import islice
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from landmark_ml.inference.photos.headers import PhotoError, tiff_entries

logger = logging.getLogger(__name__)

# Not C4, with which the lossless JPEGs of sensor data begin.
_JPEG = re.compile(rb"\xff\xd8\xff[\xdb\xdd\xe0-\xef\xfe]")
_MAX_JPEGS, _MAX_SEGMENTS = 1000, 64
_FRAMES, _SCAN, _END = (0xFFC0, 0xFFC1, 0xFFC2), 0xFFDA, b"\xff\xd9"
_ENOUGH_SIDE = 1000
"""Short side in pixels from which no larger preview is looked for."""

_CR3 = b"ftypcrx "
_CR3_BLOCKS = (b"CMT1", b"CMT2", b"CMT4")
_DIRECTORIES = _DETAILS, _POSITION = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
# By their first directory: the picture is a preview; how it is coded; the version of DNG.
_MARKS = _REDUCED, _CODING, _DNG = 254, 259, 50706
_RAW_CODINGS = frozenset({6, 32767, 34713, 65000, 65535})
_MAIN = (271, 272, 274)  # Make, model and orientation. Below: position; time and serial number.
_TAGS = frozenset({*_MARKS, *_MAIN, *_DIRECTORIES, 1, 2, 3, 4, 36867, 42033})
_TEXT, _RATIONAL, _MAX_VALUES = 2, 5, 100
_NUMBERS = {1: "B", _TEXT: "c", 3: "H", 4: "I", _RATIONAL: "II", 13: "I", 16: "Q", 18: "Q"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def raw_preview(data: bytes) -> bytes | None:
    """A preview in a raw file as a JPEG of its own, with the camera's EXIF.

    None where there is none, and for a TIFF that is no raw file.

    It is the first of 1,000 pixels or more on its short side, or else the largest. It carries
    orientation, position, time and camera of the raw file, where these can be read.
    """
    if data[:4] in _TIFF and not is_raw(data):
        return None
    best_side, best = 0, None
    for found in islice(_JPEG.finditer(data), _MAX_JPEGS):
        side, scan = _short_side(data, found.start())
        if side > best_side:
            best_side, best = side, (found.start(), scan)
        if side >= _ENOUGH_SIDE:
            break
    if best is None:
        return None
    start, scan = best
    end = data.find(_END, scan) + len(_END)
    exif = camera_exif(data)
    # Before the preview's own, if it has any: the first block counts.
    marker = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif if exif else b""
    return data[start : start + 2] + marker + data[start + 2 : end if end > scan else len(data)]


def is_raw(data: bytes) -> bool:
    """Whether a TIFF is the raw file of a camera."""
    try:
        main = _values(data, None)
    except (PhotoError, struct.error):
        return False
    is_preview = main.get(_REDUCED) == 1 or main.get(_CODING) in _RAW_CODINGS
    return is_preview or _DNG in main or data[8:10] == b"CR"


def _short_side(data: bytes, at: int) -> tuple[int, int]:
    """(pixels of the short side, offset of the first scan) of a JPEG; 0, 0 if it is none."""
    side = 0
    at += 2
    for _ in range(_MAX_SEGMENTS):
        if at + 9 > len(data):
            break
        marker, length, bits, height, width = struct.unpack_from(">HHBHH", data, at)
        if marker == _SCAN:
            return side, at
        if marker < 0xFFC0 or length < 2:
            break
        if marker in _FRAMES and bits == 8:
            side = min(height, width)
        at += 2 + length
    return 0, 0


def camera_exif(data: bytes) -> bytes:
    """Camera, orientation, time and position of a raw file or TIFF as EXIF; empty without.

    No more is read than these need: directories of a TIFF may be as long as the file.
    """
    try:
        if data[4:12] == _CR3:
            blocks = [data[data.index(name) + 4 :] for name in _CR3_BLOCKS]
            main, details, position = (_values(block, None) for block in blocks)
        else:
            main = _values(data, None)
            details, position = (_values(data, main.pop(tag, 0)) for tag in _DIRECTORIES)
        exif = Image.Exif()
        exif.update({tag: main[tag] for tag in _MAIN if tag in main})
        exif.update({_DETAILS: details, _POSITION: position})
        return exif.tobytes() if main else b""
    except Exception as error:
        # Foreign bytes, of which PIL makes EXIF; the preview may still be good.
        logger.debug("unreadable EXIF of a raw file ignored: %r", error)
        return b""


def _values(data: bytes, at: int | None) -> dict[int, Any]:
    """Values by tag in a directory of a TIFF, as far as a photo needs them.

    at: its offset; None for the first, 0 for none.
    """
    order = "<" if data[:2] == b"II" else ">"
    address = order + ("Q" if 43 in data[2:4] else "I")
    found: dict[int, Any] = {}
    for tag, kind, count, given in tiff_entries(data, at) if at != 0 else ():
        if tag not in _TAGS or kind not in _NUMBERS or not 0 < count <= _MAX_VALUES:
            continue
        form = order + _NUMBERS[kind] * count
        is_near = struct.calcsize(form) <= struct.calcsize(address)
        place = given if is_near else struct.unpack_from(address, data, given)[0]
        numbers = struct.unpack_from(form, data, place)
        if kind == _TEXT:
            found[tag] = b"".join(numbers).decode("latin-1").rstrip("\0")
        elif kind == _RATIONAL:
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            found[tag] = tuple(IFDRational(*pair) for pair in pairs)
        else:
            found[tag] = numbers[0]
    return found
