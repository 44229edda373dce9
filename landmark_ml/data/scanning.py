"""Read every photo of a dataset once, and remember what was read until its file changes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.ndimage import uniform_filter

from landmark_ml.console import Bar
from landmark_ml.data.dataset import Photo, UnreadablePhoto, visit_of
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.stores import fetch_photos
from landmark_ml.files import make_cache
from landmark_ml.inference.photos import (
    PhotoError,
    decode_photo,
    read_at_most,
    read_capture,
    read_location,
    read_photo,
)
from landmark_ml.inference.runtime import usable_cpus

SCANS = "scans-1.sqlite"
"""Name of the cache. Raise its number when something else is read from a photo."""
BATCH = 2000
"""Photos read from one write of the cache to the next."""
# A path is as the file system spells it, which need not be UTF-8.
_TABLE = """
CREATE TABLE IF NOT EXISTS scans (path BLOB PRIMARY KEY, size, mtime_ns,
    sha256, width, height, fingerprint, visit, latitude, longitude)
"""
_KNOWN = "SELECT * FROM scans WHERE path = ? AND size = ? AND mtime_ns = ?"
_REMEMBER = "INSERT OR REPLACE INTO scans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DECODED_PIXELS = 64
"""Least short side to decode a photo at, in pixels: plenty for a fingerprint."""
FINGERPRINT_BYTES = 320
HASH_BYTES = 32
_THUMBNAIL_SIDE = 32
_DETAIL_CELLS = 9
_LEAST_DETAIL = 1.5
"""Detail, as a standard deviation in grey levels, below which a picture counts as empty."""
# Detail is kept in 4 bits a cell, in steps of half its standard deviation. Of the photos that
# MAX_DISTANCE was chosen on, 4,268 of the 4,270 pairs found with unrounded detail are found, and no
# other.
DETAIL_STEP = 0.5
_LARGEST_STEP = 7


def read_photos(
    files: Sequence[ListedFile], cache: Path, threads: int = 0
) -> list[Photo | UnreadablePhoto]:
    """Read every file, on all cores or `threads`; order is kept. What has an address is fetched.

    cache: folder where what was read is kept, for every process, until a file's size or time of
    change differs. A killed process loses the last `BATCH` photos at most. Raises ValueError for a
    cache that is damaged or cannot be written.
    """
    make_cache(cache)
    path = cache / SCANS
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as scans:
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", _TABLE):
                scans.execute(statement)
            return _read_photos(files, scans, threads or usable_cpus())
    except sqlite3.Error as error:
        raise ValueError(
            f"{path} cannot be read or written ({error}); free some disk space, remove it,"
            " or give another cache_dir"
        ) from error


def _read_photos(
    files: Sequence[ListedFile], scans: sqlite3.Connection, threads: int
) -> list[Photo | UnreadablePhoto]:
    failed, found = fetch_photos(files), list[Photo | UnreadablePhoto]()
    # Decoding and hashing release the interpreter lock, so threads keep every core busy.
    with (
        Bar(total=len(files), desc="reading photos", unit=" photos") as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            rows: list[Any] = [failed.get(file.path) or _known(file.path, scans) for file in batch]
            unknown = [number for number, row in enumerate(rows) if row is None]
            read = list(pool.map(_read_file, [batch[number].path for number in unknown]))
            with scans:
                scans.executemany(_REMEMBER, [row for row in read if isinstance(row, tuple)])
            for number, row in zip(unknown, read, strict=True):
                rows[number] = row
            for file, row in zip(batch, rows, strict=True):
                if isinstance(row, UnreadablePhoto):
                    found.append(row)
                    continue
                *_, visit, latitude, longitude = row
                position = file.position or (None if latitude is None else (latitude, longitude))
                known = *row[3:7], file.visit or visit, position
                found.append(Photo(file.path, file.label, *known))
            bar.update(len(batch))
    return found


def _known(path: Path, scans: sqlite3.Connection) -> tuple[Any, ...] | None:
    with contextlib.suppress(OSError):
        return scans.execute(_KNOWN, _key(path)).fetchone()  # type: ignore[no-any-return]
    return None


def _key(path: Path) -> tuple[bytes, int, int]:
    state = path.stat()
    return os.fsencode(path), state.st_size, state.st_mtime_ns


def _read_file(path: Path) -> tuple[Any, ...] | UnreadablePhoto:
    """Row of a photo in the cache."""
    try:
        key = _key(path)
        # Of a raw file the preview is decoded, but the file is what it is known by.
        content = read_at_most(path)
        data = read_photo(content)
        picture = decode_photo(data, min_side=_DECODED_PIXELS)
    except PhotoError as error:
        return UnreadablePhoto(path, error.code, error.reason)
    except OSError as error:
        return UnreadablePhoto(path, "unreadable", error.strerror or str(error))
    width, height = picture.size
    # A JPEG may have been decoded at a reduced scale; its header has the full size.
    if data.startswith(b"\xff\xd8\xff"):
        stored = JpegImageFile(io.BytesIO(data)).size
        # The decoded picture is upright; the stored one may lie on its side.
        turned = (width - height) * (stored[0] - stored[1]) < 0
        width, height = stored[::-1] if turned else stored
    sha256 = hashlib.sha256(content).hexdigest()
    captured = read_capture(data)
    visit = visit_of(*captured) if captured and captured[0] else ""
    position = read_location(data) or (None, None)
    return (*key, sha256, width, height, fingerprint(picture), visit, *position)


def fingerprint(image: Image.Image) -> bytes:
    """Compute what brightness, size and encoding of a picture hardly change, in 320 bytes.

    256 bits of difference hash: 128 say whether a cell is brighter than the one to its left, 128
    than the one above. Then the detail of a thumbnail without its border and broad shading, 24 x 24
    cells of 4 bits. Method of the hash: Krawetz, "Kind of Like That" (2013).
    """
    grey = image.convert("L")
    across, down = (
        np.asarray(grey.convert("F").resize(size, Image.Resampling.BOX), dtype=np.float32)
        for size in ((9, 16), (16, 9))
    )
    brighter = [(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()]
    thumbnail = grey.resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.BOX)
    detail = np.asarray(thumbnail, dtype=np.float32)
    detail = detail - uniform_filter(detail, _DETAIL_CELLS)
    # Near the border the mean is one-sided, and would leave shading in.
    border = _DETAIL_CELLS // 2
    detail = detail[border:-border, border:-border].ravel()
    detail = detail - detail.mean()
    steps = np.rint(detail / (DETAIL_STEP * max(detail.std(), _LEAST_DETAIL)))
    levels = (steps.clip(-_LARGEST_STEP, _LARGEST_STEP) + 8).astype(np.uint8)
    packed = levels[::2] << 4 | levels[1::2]
    return np.packbits(np.concatenate(brighter)).tobytes() + bytes(packed)
