"""Read every photo of a dataset once, group those that are the same picture, find those learned.

One picture is the same bytes, re-encoded, resized or retouched. It is found in two steps, for
precision at the size of a whole dataset: a difference hash names candidate pairs, then the fine
detail of both pictures must agree. Fine detail tells two photos of one landmark from one photo
saved twice, and two empty skies, which have none, are never taken for one picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from landmark_ml.console import Bar, counted
from landmark_ml.data.dataset import Photo, Split, UnreadablePhoto
from landmark_ml.data.folders import ListedFile
from landmark_ml.inference.photos import PhotoError, decode_photo, read_capture, read_photo
from landmark_ml.inference.runtime import usable_cpus

logger = logging.getLogger(__name__)

_DECODED_PIXELS = 64
"""Least short side to decode a photo at, in pixels: plenty for a fingerprint."""

_DAY_STARTS = 4
"""Hour at which the next visit starts, local time."""

# Chosen by eye on web photos of 50 landmarks and on copies made of them: pairs within both bounds
# are one picture; a copy cropped by 3 % on each side, or by 5 % on one, stays within them.
MAX_DISTANCE = 56
MIN_AGREEMENT = 0.5
FINGERPRINT_BYTES = 320
_HASH_BYTES = 32
_THUMBNAIL_SIDE = 32
_DETAIL_CELLS = 9
_LEAST_DETAIL = 1.5
"""Detail, as a standard deviation in grey levels, below which a picture counts as empty."""
# Detail is kept in 4 bits a cell, in steps of half its standard deviation. On the same web photos
# and copies, 4,268 of the 4,270 pairs found with unrounded detail are found, and no other.
_DETAIL_STEP = 0.5
_LARGEST_STEP = 7
BLOCK_PAIRS = 1 << 18
"""Pairs of hashes compared at once: bounds the memory, and fits the processor's cache."""
CHECKED_PAIRS = 1 << 14
"""Pairs of thumbnails compared at once."""


@dataclass(frozen=True, slots=True)
class GroupedPhoto:
    """A photo, its group of near-duplicates and the split that its folder gives it, if any."""

    photo: Photo
    group: int
    given: Split | None


def read_and_group(
    files: Sequence[ListedFile], threads: int = 0, grouping: str = "visits"
) -> tuple[list[GroupedPhoto], list[UnreadablePhoto]]:
    """Decode every file, on all cores or `threads`, and group the same pictures; order is kept.

    grouping: `visits` also notes the visit of each photo, with `none` only photos of the same bytes
    are one group.
    """
    # Decoding and hashing release the interpreter lock, so threads keep every core busy.
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        reading = pool.map(partial(_read_file, visits=grouping == "visits"), files)
        results = list(Bar(reading, total=len(files), desc="reading photos", unit=" photos"))
    unreadable = [result for result in results if isinstance(result, UnreadablePhoto)]
    read = [
        (result, file.given)
        for file, result in zip(files, results, strict=True)
        if not isinstance(result, UnreadablePhoto)
    ]
    photos = [photo for photo, _ in read]
    if grouping == "none":
        groups = np.unique([photo.sha256 for photo in photos], return_inverse=True)[1].tolist()
    else:
        groups = group_near_duplicates(photos).tolist()
    if copies := len(groups) - len(set(groups)):
        logger.info("%s of others, kept in one split with them", counted(copies, "near-duplicate"))
    grouped = [
        GroupedPhoto(photo, group, given)
        for (photo, given), group in zip(read, groups, strict=True)
    ]
    return grouped, unreadable


def _read_file(file: ListedFile, visits: bool) -> Photo | UnreadablePhoto:
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
    content = hashlib.sha256(data).hexdigest()
    visit = _visit(data) if visits else ""
    return Photo(file.path, file.label, content, width, height, fingerprint(picture), visit)


def _visit(data: bytes) -> str:
    """Short hash of a photo's camera and day; empty when its EXIF does not tell both."""
    captured = read_capture(data)
    if captured is None:
        return ""
    camera, taken = captured
    # A camera whose clock was never set starts at a first of January.
    if (taken.month, taken.day) == (1, 1):
        return ""
    # A visit may go on past midnight.
    day = (taken - timedelta(hours=_DAY_STARTS)).date()
    return hashlib.sha256(f"{camera} {day}".encode()).hexdigest()[:16]


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
    steps = np.rint(detail / (_DETAIL_STEP * max(detail.std(), _LEAST_DETAIL)))
    levels = (steps.clip(-_LARGEST_STEP, _LARGEST_STEP) + 8).astype(np.uint8)
    packed = levels[::2] << 4 | levels[1::2]
    return np.packbits(np.concatenate(brighter)).tobytes() + bytes(packed)


def group_near_duplicates(photos: Sequence[Photo]) -> NDArray[np.int64]:
    """Give each photo the number of its group of same or nearly same photos: shape (photos,).

    Photos of one group are joined by a chain of pairs with the same content, or with near hashes
    and agreeing detail.
    """
    if not photos:
        return np.zeros(0, dtype=np.int64)
    count, prints = len(photos), _stack(photos)
    contents = np.array([photo.sha256 for photo in photos])
    _, first, codes = np.unique(contents, return_index=True, return_inverse=True)
    found = [_pairs(np.arange(count), first[codes])]
    # Photos with equal hashes are compared with the first of them only.
    every = _hashes(prints)
    hashes, first, codes = np.unique(every, axis=0, return_index=True, return_inverse=True)
    equal = _pairs(np.arange(count), first[codes.ravel()])
    found.append(_agreeing(prints, prints, equal[equal[:, 0] != equal[:, 1]]))
    found += [_agreeing(prints, prints, first[pairs]) for pairs in _near_hashes(hashes)]
    left, right = np.concatenate(found).T
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Learned:
    """The photos that a model was trained on or chosen by.

    contents: their sha256. prints: their fingerprints, uint8 (photos, 320). checks_copies: False
    when the run recorded no fingerprints, so that only the same bytes can be found.
    """

    contents: frozenset[str]
    prints: NDArray[np.uint8]
    checks_copies: bool

    @classmethod
    def of(cls, manifest: Path | None) -> Learned | None:
        """Read the train and val photos of the manifest of a model's run.

        None, with a warning, when the run has no manifest or a damaged one.
        """
        if manifest is None:
            logger.warning(
                "the run of the model holds no split manifest: whether it was trained on these"
                " photos cannot be checked"
            )
            return None
        try:
            photos = json.loads(manifest.read_bytes())["photos"]
            rows = [row for row in photos if row["split"] in ("train", "val")]
            contents = frozenset(row["sha256"] for row in rows)
            prints = b"".join(base64.b64decode(row.get("fingerprint", "")) for row in rows)
            stacked = np.frombuffer(prints, dtype=np.uint8).reshape(-1, FINGERPRINT_BYTES)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("the split manifest of the model's run is damaged: %r", error)
            return None
        checks_copies = len(stacked) == len(rows)
        if not checks_copies:
            logger.warning(
                "the run of the model recorded no fingerprints: photos that it was trained on are"
                " found by the same bytes only, near-duplicates of them are not"
            )
        return cls(contents, stacked, checks_copies)

    def photos_learned(self, photos: Sequence[Photo]) -> NDArray[np.bool_]:
        """Whether each photo is one that was learned, or nearly the same: shape (photos,)."""
        learned = np.array([photo.sha256 in self.contents for photo in photos], dtype=bool)
        known = [photo for photo in photos if photo.fingerprint]
        if known and len(self.prints):
            asked = np.flatnonzero([bool(photo.fingerprint) for photo in photos])
            prints = _stack(known)
            for pairs in _near_hashes(_hashes(prints), _hashes(self.prints)):
                learned[asked[_agreeing(prints, self.prints, pairs)[:, 0]]] = True
        return learned

    def leave_out(self, photos: Sequence[Photo]) -> tuple[Photo, ...]:
        """Those of the photos that were not learned, in order."""
        learned = self.photos_learned(photos)
        return tuple(photo for photo, drop in zip(photos, learned, strict=True) if not drop)


def _stack(photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """Fingerprints of photos, (photos, 320)."""
    together = b"".join(photo.fingerprint for photo in photos)
    return np.frombuffer(together, dtype=np.uint8).reshape(len(photos), FINGERPRINT_BYTES)


def _hashes(prints: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(prints[:, :_HASH_BYTES]).view(np.uint64)


def _near_hashes(
    left: NDArray[np.uint64], right: NDArray[np.uint64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield pairs of hashes within MAX_DISTANCE, shape (n, 2), a block of rows of left at a time.

    Without right, pairs i < j within left.
    """
    words = np.ascontiguousarray(left.T)
    others = words if right is None else np.ascontiguousarray(right.T)
    block = max(1, BLOCK_PAIRS // others.shape[1])
    for start in Bar(range(0, len(left), block), desc="comparing photos"):
        first = start if right is None else 0
        rows, columns = words[:, start : start + block], others[:, first:]
        distance = np.zeros((rows.shape[1], columns.shape[1]), dtype=np.uint16)
        for word, other in zip(rows, columns, strict=True):
            distance += np.bitwise_count(word[:, None] ^ other)
        i, j = np.nonzero(distance <= MAX_DISTANCE)
        if right is None:
            i, j = i[i < j], j[i < j]
        yield _pairs(i + start, j + first)


def _agreeing(
    left: NDArray[np.uint8], right: NDArray[np.uint8], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those pairs of a left and a right fingerprint whose detail correlates enough."""
    agreeing = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), CHECKED_PAIRS):
        chunk = pairs[start : start + CHECKED_PAIRS]
        details = _detail(left[chunk[:, 0]]), _detail(right[chunk[:, 1]])
        agreeing[start : start + CHECKED_PAIRS] = (
            np.einsum("nc,nc->n", *details) >= MIN_AGREEMENT * details[0].shape[1]
        )
    return pairs[agreeing]


def _detail(prints: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Detail of fingerprints, (n, 576), of standard deviation 1; smaller in empty pictures."""
    packed = prints[:, _HASH_BYTES:]
    levels = np.stack([packed >> 4, packed & 15], axis=2).reshape(len(prints), -1)
    return (levels.astype(np.float32) - 8) * np.float32(_DETAIL_STEP)


def _pairs(left: NDArray[np.integer], right: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.stack([left, right], axis=1).astype(np.int64)
