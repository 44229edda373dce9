"""Read every photo of a dataset once: content hash, size, difference hash, or why it cannot be."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.JpegImagePlugin import JpegImageFile
from tqdm import tqdm

from landmark_ml.data.dataset import Photo, UnreadablePhoto
from landmark_ml.data.near_duplicates import Fingerprint, fingerprint
from landmark_ml.inference.photos import PhotoError, decode_photo, read_photo
from landmark_ml.inference.runtime import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.data.dataset import Side
    from landmark_ml.data.folders import ListedFile

_DECODE_SIDE = 64
_JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Scan:
    """What was read, with the side its folder gives it, and what was not."""

    photos: tuple[Photo, ...]
    sides: tuple[Side | None, ...]
    fingerprints: tuple[Fingerprint, ...]
    unreadable: tuple[UnreadablePhoto, ...]


def scan_files(files: Sequence[ListedFile], threads: int = 0) -> Scan:
    """Decode and hash every file, on all cores or `threads`; the order of files is kept."""
    # Decoding and hashing release the interpreter lock, so threads keep every core busy.
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        results = list(
            tqdm(pool.map(_scan_file, files), total=len(files), desc="reading photos", unit="photo")
        )
    read = [(result, file.side) for result, file in zip(results, files, strict=True)]
    good = [(result, side) for result, side in read if not isinstance(result, UnreadablePhoto)]
    return Scan(
        photos=tuple(result[0] for result, _ in good),
        sides=tuple(side for _, side in good),
        fingerprints=tuple(result[1] for result, _ in good),
        unreadable=tuple(result for result in results if isinstance(result, UnreadablePhoto)),
    )


def _scan_file(file: ListedFile) -> tuple[Photo, Fingerprint] | UnreadablePhoto:
    try:
        data = read_photo(file.path)
        picture = decode_photo(data, min_side=_DECODE_SIDE)
    except PhotoError as error:
        return UnreadablePhoto(file.path, error.code, error.reason)
    except OSError as error:
        return UnreadablePhoto(file.path, "unreadable", error.strerror or str(error))
    width, height = _full_size(data, picture.size)
    photo = Photo(file.path, file.label, hashlib.sha256(data).hexdigest(), width, height)
    return photo, fingerprint(picture)


def _full_size(data: bytes, decoded: tuple[int, int]) -> tuple[int, int]:
    """Upright (width, height) of a photo that was perhaps decoded at a reduced scale."""
    if not data.startswith(_JPEG_START):
        return decoded
    width, height = JpegImageFile(io.BytesIO(data)).size
    wide, high = decoded
    # The decoded picture is upright: its proportions tell whether the stored one lies on its side.
    turned = abs(wide * height - high * width) > abs(wide * width - high * height)
    return (height, width) if turned else (width, height)
