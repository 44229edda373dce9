"""Groups of photos that are the same picture: same bytes, or re-encoded, resized, retouched.

Two steps, for precision at the size of a whole dataset: a difference hash names candidate pairs,
then the fine detail of both pictures must agree. Fine detail tells two photos of one landmark from
one photo saved twice, and two empty skies, which have none, are never taken for one picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Chosen by eye on web photos of 50 landmarks and on copies made of them: pairs within both bounds
# are one picture; a copy cropped by 3 % on each side, or by 5 % on one, stays within them.
MAX_DISTANCE = 56
MIN_AGREEMENT = 0.5
THUMBNAIL_SIDE = 32
_DETAIL_CELLS = 9
_LEAST_DETAIL = 1.5
"""Detail, as a standard deviation in grey levels, below which a picture counts as empty."""
_BLOCK_PAIRS = 1 << 18
_CHECKED_PAIRS = 1 << 14


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
    across = _cells(grey.convert("F"), 9, 16)
    down = _cells(grey.convert("F"), 16, 9)
    brighter = np.concatenate(
        [(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()]
    )
    thumbnail = np.asarray(_shrink(grey, THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)
    return Fingerprint(np.packbits(brighter).view(np.uint64), thumbnail)


def group_near_duplicates(
    contents: Sequence[str], prints: Sequence[Fingerprint]
) -> NDArray[np.int64]:
    """Assign each photo the number of its group of same or nearly same photos: shape (photos,).

    contents: sha256 a photo. Photos of one group are joined by a chain of pairs with the same
    content, or with near hashes and agreeing detail.
    """
    if not contents:
        return np.zeros(0, dtype=np.int64)
    count = len(contents)
    pairs = np.concatenate([_same_content_pairs(contents), _near_pairs(prints)])
    links = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((links, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, dtype=np.int64)


def _same_content_pairs(contents: Sequence[str]) -> NDArray[np.int64]:
    _, first, codes = np.unique(np.asarray(contents), return_index=True, return_inverse=True)
    return _pairs(np.arange(len(contents)), first[codes])


def _near_pairs(prints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Pairs that are near by hash and agree in detail; equal hashes are checked with one only."""
    bits = np.stack([item.bits for item in prints])
    thumbnails = np.stack([item.thumbnail for item in prints])
    distinct, first, codes = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    equal = _pairs(np.arange(len(bits)), first[codes.ravel()])
    found = [_agreeing(thumbnails, equal[equal[:, 0] != equal[:, 1]])]
    found += [_agreeing(thumbnails, _pairs(first[i], first[j])) for i, j in _near_hashes(distinct)]
    return np.concatenate(found)


def _near_hashes(bits: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield indices i < j of pairs within MAX_DISTANCE, a block of rows at a time."""
    words = np.ascontiguousarray(bits.T)
    block = max(1, _BLOCK_PAIRS // len(bits))
    # Blocks bound the memory, and one that fits the processor's cache is twice as fast.
    for start in tqdm(range(0, len(bits), block), desc="comparing photos", delay=2):
        distance = np.zeros((min(block, len(bits) - start), len(bits) - start), dtype=np.uint16)
        for word in words:
            distance += np.bitwise_count(word[start : start + block, None] ^ word[start:])
        i, j = np.nonzero(distance <= MAX_DISTANCE)
        yield i[i < j] + start, j[i < j] + start


def _agreeing(thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    chunks = [pairs[at : at + _CHECKED_PAIRS] for at in range(0, len(pairs), _CHECKED_PAIRS)]
    agreeing = [chunk[_agreement(thumbnails, chunk) >= MIN_AGREEMENT] for chunk in chunks]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *agreeing])


def _agreement(thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Correlation, -1 to 1, of the fine detail of each pair (n, 2) of thumbnails."""
    left, right = (_detail(thumbnails[pairs[:, side]]) for side in (0, 1))
    return np.asarray(np.einsum("nij,nij->n", left, right))


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


def _cells(grey: Image.Image, width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(_shrink(grey, width, height), dtype=np.float32)


def _shrink(grey: Image.Image, width: int, height: int) -> Image.Image:
    return grey.resize((width, height), Image.Resampling.BOX)


def _pairs(left: NDArray[np.integer], right: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.stack([left, right], axis=1).astype(np.int64)
