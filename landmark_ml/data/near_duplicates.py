"""Read every photo of a dataset once, and group those that are the same picture.

A group holds the same bytes, re-encoded, resized or retouched. It is found in two steps, for
precision at the size of a whole dataset: a difference hash names candidate pairs, then the fine
detail of both pictures must agree. Fine detail tells two photos of one landmark from one photo
saved twice, and two empty skies, which have none, are never taken for one picture.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from landmark_ml.data.dataset import Photo, Split, UnreadablePhoto
from landmark_ml.data.folders import ListedFile
from landmark_ml.inference.photos import PhotoError, decode_photo, read_photo
from landmark_ml.inference.runtime import usable_cpus

logger = logging.getLogger(__name__)

_DECODED_PIXELS = 64
"""Least short side to decode a photo at, in pixels: plenty for a fingerprint."""

# Chosen by eye on web photos of 50 landmarks and on copies made of them: pairs within both bounds
# are one picture; a copy cropped by 3 % on each side, or by 5 % on one, stays within them.
MAX_DISTANCE = 56
MIN_AGREEMENT = 0.5
THUMBNAIL_SIDE = 32
_DETAIL_CELLS = 9
_LEAST_DETAIL = 1.5
"""Detail, as a standard deviation in grey levels, below which a picture counts as empty."""
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
    files: Sequence[ListedFile], threads: int = 0
) -> tuple[list[GroupedPhoto], list[UnreadablePhoto]]:
    """Decode every file, on all cores or `threads`, and group the same pictures; order is kept."""
    # Decoding and hashing release the interpreter lock, so threads keep every core busy.
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        reading = pool.map(_read_file, files)
        results = list(tqdm(reading, total=len(files), desc="reading photos", unit="photo"))
    unreadable = [result for result in results if isinstance(result, UnreadablePhoto)]
    read = [
        (*result, file.given)
        for file, result in zip(files, results, strict=True)
        if not isinstance(result, UnreadablePhoto)
    ]
    groups = group_near_duplicates(
        [photo.sha256 for photo, _, _ in read], [found for _, found, _ in read]
    ).tolist()
    logger.info("%d photos look the same as another one", len(groups) - len(set(groups)))
    grouped = [
        GroupedPhoto(photo, group, given)
        for (photo, _, given), group in zip(read, groups, strict=True)
    ]
    return grouped, unreadable


def _read_file(file: ListedFile) -> tuple[Photo, Fingerprint] | UnreadablePhoto:
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
    return photo, fingerprint(picture)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Difference hash, uint64 (4,), and grey thumbnail, uint8 (32, 32), of one picture."""

    bits: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]


def fingerprint(image: Image.Image) -> Fingerprint:
    """Compute what brightness, size and encoding of a picture hardly change.

    128 bits say whether a cell is brighter than the one to its left, 128 than the one above.
    Method: Krawetz, "Kind of Like That" (2013).
    """
    grey = image.convert("L")
    across, down = (
        np.asarray(grey.convert("F").resize(size, Image.Resampling.BOX), dtype=np.float32)
        for size in ((9, 16), (16, 9))
    )
    brighter = [(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()]
    thumbnail = grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return Fingerprint(
        np.packbits(np.concatenate(brighter)).view(np.uint64), np.asarray(thumbnail, dtype=np.uint8)
    )


def group_near_duplicates(
    contents: Sequence[str], prints: Sequence[Fingerprint]
) -> NDArray[np.int64]:
    """Give each photo the number of its group of same or nearly same photos: shape (photos,).

    contents: sha256 of each photo. Photos of one group are joined by a chain of pairs with the
    same content, or with near hashes and agreeing detail.
    """
    if not contents:
        return np.zeros(0, dtype=np.int64)
    count = len(contents)
    bits = np.stack([item.bits for item in prints])
    thumbnails = np.stack([item.thumbnail for item in prints])
    _, first, codes = np.unique(np.asarray(contents), return_index=True, return_inverse=True)
    found = [_pairs(np.arange(count), first[codes])]
    # Photos with equal hashes are compared with the first of them only.
    hashes, first, codes = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    equal = _pairs(np.arange(count), first[codes.ravel()])
    found.append(_agreeing(thumbnails, equal[equal[:, 0] != equal[:, 1]]))
    found += [_agreeing(thumbnails, first[pairs]) for pairs in _near_hashes(hashes)]
    left, right = np.concatenate(found).T
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, dtype=np.int64)


def _near_hashes(bits: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs i < j of hashes within MAX_DISTANCE, shape (n, 2), a block of rows at a time."""
    words = np.ascontiguousarray(bits.T)
    block = max(1, BLOCK_PAIRS // len(bits))
    for start in tqdm(range(0, len(bits), block), desc="comparing photos", delay=2):
        distance = np.zeros((min(block, len(bits) - start), len(bits) - start), dtype=np.uint16)
        for word in words:
            distance += np.bitwise_count(word[start : start + block, None] ^ word[start:])
        i, j = np.nonzero(distance <= MAX_DISTANCE)
        yield _pairs(i[i < j], j[i < j]) + start


def _agreeing(thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those pairs whose fine detail correlates by MIN_AGREEMENT or more."""
    agreeing = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), CHECKED_PAIRS):
        chunk = pairs[start : start + CHECKED_PAIRS]
        left, right = (_detail(thumbnails[chunk[:, end]]) for end in (0, 1))
        correlation = np.einsum("nij,nij->n", left, right)
        agreeing[start : start + CHECKED_PAIRS] = correlation >= MIN_AGREEMENT
    return pairs[agreeing]


def _detail(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails (n, 32, 32) without border and broad shading, at unit length; shorter if empty."""
    grey = thumbnails.astype(np.float32)
    detail = grey - uniform_filter(grey, (0, _DETAIL_CELLS, _DETAIL_CELLS))
    # Near the border the mean is one-sided, and would leave shading in.
    border = _DETAIL_CELLS // 2
    detail = detail[:, border:-border, border:-border]
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    length = np.linalg.norm(detail, axis=(1, 2), keepdims=True)
    return np.asarray(detail / np.maximum(length, _LEAST_DETAIL * detail.shape[1]))


def _pairs(left: NDArray[np.integer], right: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.stack([left, right], axis=1).astype(np.int64)
