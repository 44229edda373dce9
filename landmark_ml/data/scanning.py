"""Read every photo of a dataset once: content hash, size and fingerprint, or why it cannot be."""

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

    from landmark_ml.data.dataset import Split
    from landmark_ml.data.folders import ListedFile

_DECODED_PIXELS = 64
"""Least short side to decode a photo at, in pixels: plenty for a fingerprint."""


@dataclass(frozen=True, slots=True)
class ScannedPhoto:
    """A photo that was read, its fingerprint and the split that its folder gives it, if any."""

    photo: Photo
    fingerprint: Fingerprint
    given: Split | None


def scan_files(
    files: Sequence[ListedFile], threads: int = 0
) -> tuple[list[ScannedPhoto], list[UnreadablePhoto]]:
    """Decode and hash every file, on all cores or `threads`; the order of files is kept."""
    # Decoding and hashing release the interpreter lock, so threads keep every core busy.
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        read = pool.map(_scan_file, files)
        results = list(tqdm(read, total=len(files), desc="reading photos", unit="photo"))
    return (
        [result for result in results if isinstance(result, ScannedPhoto)],
        [result for result in results if isinstance(result, UnreadablePhoto)],
    )


def _scan_file(file: ListedFile) -> ScannedPhoto | UnreadablePhoto:
    try:
        data = read_photo(file.path)
        picture = decode_photo(data, min_side=_DECODED_PIXELS)
    except PhotoError as error:
        return UnreadablePhoto(file.path, error.code, error.reason)
    except OSError as error:
        return UnreadablePhoto(file.path, "unreadable", error.strerror or str(error))
    width, height = picture.size
    # A JPEG may have been decoded at a reduced scale; its header has the full size.
    if data.startswith(b"\xff\xd8\xff"):
        stored = JpegImageFile(io.BytesIO(data)).size
        # The decoded picture is upright; the stored one may lie on its side.
        turned = (width - height) * (stored[0] - stored[1]) < 0
        width, height = stored[::-1] if turned else stored
    photo = Photo(file.path, file.label, hashlib.sha256(data).hexdigest(), width, height)
    return ScannedPhoto(photo, fingerprint(picture), file.given)
