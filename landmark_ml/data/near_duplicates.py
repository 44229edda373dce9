"""Group the photos that are the same picture, and find those that a model has learned.

One picture is the same bytes, re-encoded, resized or retouched. It is found in two steps, for
precision at the size of a whole dataset: a difference hash names candidate pairs, then the fine
detail of both pictures must agree. Fine detail tells two photos of one landmark from one photo
saved twice, and two empty skies, which have none, are never taken for one picture.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from landmark_ml.console import Bar, counted
from landmark_ml.data.dataset import Photo, Split, UnreadablePhoto, read_rows
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.scanning import DETAIL_STEP, FINGERPRINT_BYTES, HASH_BYTES, read_photos
from landmark_ml.inference.runtime import usable_cpus

logger = logging.getLogger(__name__)

# Chosen by eye on web photos of 50 landmarks and on copies made of them: pairs within both bounds
# are one picture; a copy cropped by 3 % on each side, or by 5 % on one, stays within them.
MAX_DISTANCE = 56
MIN_AGREEMENT = 0.5
# Chosen on made-up hashes that are alike as those of photos are, with copies of them.
ORDERS = 256
"""Orders that hashes are sorted in; each may bring pairs together that no other did."""
WINDOW = 32
"""Hashes after it in an order that each one is compared with."""
ALL_PAIRS = 1 << 14
"""Hashes up to which each is compared with all others, which is no slower there."""
BLOCK_PAIRS = 1 << 18
"""Pairs of hashes compared at once: bounds the memory, and fits the processor's cache."""
CHECKED_PAIRS = 1 << 14
"""Pairs of thumbnails compared at once."""
_CELLS = np.arange(256) // [[16], [1]] % 16 - 8
_PRODUCTS = np.einsum("ca,cb->ab", _CELLS, _CELLS).astype(np.int16).ravel()
"""Of two bytes, each two cells of detail in steps: the sum of the products of their cells."""


@dataclass(frozen=True, slots=True)
class GroupedPhoto:
    """A photo, its group of near-duplicates and the split that its folder gives it, if any."""

    photo: Photo
    group: int
    given: Split | None


def read_and_group(
    files: Sequence[ListedFile], cache: Path, threads: int = 0, grouping: str = "visits"
) -> tuple[list[GroupedPhoto], list[UnreadablePhoto]]:
    """Read every file as `read_photos` does, and group the same pictures; order is kept.

    grouping: `visits` also keeps the visit of each photo, with `none` only photos of the same bytes
    are one group.
    """
    results = read_photos(files, cache, threads)
    unreadable = [result for result in results if isinstance(result, UnreadablePhoto)]
    read = [
        (result if grouping == "visits" else replace(result, visit=""), file.given)
        for file, result in zip(files, results, strict=True)
        if not isinstance(result, UnreadablePhoto)
    ]
    photos = [photo for photo, _ in read]
    contents = [photo.sha256 for photo in photos]
    none = grouping == "none"
    groups = (_same_bytes(contents) if none else _group(contents, _stack(photos))).tolist()
    if copies := len(groups) - len(set(groups)):
        logger.info("%s of others, kept in one split with them", counted(copies, "near-duplicate"))
    grouped = [
        GroupedPhoto(photo, group, given)
        for (photo, given), group in zip(read, groups, strict=True)
    ]
    return grouped, unreadable


def group_near_duplicates(photos: Sequence[Photo]) -> NDArray[np.int64]:
    """Give each photo the number of its group of same or nearly same photos: shape (photos,).

    Photos of one group are joined by a chain of pairs with the same content, or with near hashes
    and agreeing detail. Each photo has its fingerprint.
    """
    return _group([photo.sha256 for photo in photos], _stack(photos))


def _same_bytes(contents: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in contents], dtype=np.int64)


def _group(
    contents: Sequence[str], prints: NDArray[np.uint8], asked: int | None = None
) -> NDArray[np.int64]:
    """Groups of photos by their sha256 and fingerprints, (photos, 320).

    asked: how many of the photos, the first, have to be in the right group; None: all.
    """
    count, groups = len(contents), _same_bytes(contents)
    if not count:
        return groups

    def join(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        apart = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
        joined = groups[_agreeing(prints, apart)]
        if not len(joined):
            return groups
        edges = coo_array((np.ones(len(joined), dtype=np.int8), joined.T), shape=(count, count))
        return connected_components(edges, directed=False)[1].astype(np.int64)[groups]

    # Photos with equal hashes are compared with the first of them only.
    hashes, first, codes = np.unique(
        _hashes(prints), axis=0, return_index=True, return_inverse=True
    )
    groups = join(np.stack([np.arange(count), first[codes.ravel()]], axis=1))
    some = np.unique(codes.ravel()[:asked])
    found = _near_hashes(hashes) if len(some) > ALL_PAIRS else _near_some(hashes, some)
    for pairs in found:
        groups = join(first[pairs])
    return groups


@dataclass(frozen=True, eq=False)
class Learned:
    """The photos that a model was trained on or chosen by.

    contents: their sha256. prints: their fingerprints, uint8 (photos, 320).
    """

    contents: frozenset[str]
    prints: NDArray[np.uint8]

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
            _, rows = read_rows(manifest.read_bytes(), manifest.name)
        except ValueError as error:
            logger.warning("the split manifest of the model's run is damaged: %s", error)
            return None
        rows = rows.filter(pc.is_in(rows["split"], pa.array(["train", "val"])))
        prints = b"".join(rows["fingerprint"].to_pylist())
        stacked = np.frombuffer(prints, dtype=np.uint8).reshape(-1, FINGERPRINT_BYTES)
        return cls(frozenset(rows["sha256"].to_pylist()), stacked)

    def photos_learned(self, photos: Sequence[Photo]) -> NDArray[np.bool_]:
        """Whether each photo is in a group with one that was learned: shape (photos,)."""
        same = np.array([photo.sha256 in self.contents for photo in photos], dtype=bool)
        contents = [photo.sha256 for photo in photos] + [""] * len(self.prints)
        groups = _group(contents, np.concatenate([_stack(photos), self.prints]), len(photos))
        return same | np.isin(groups[: len(photos)], groups[len(photos) :])

    def leave_out(self, photos: Sequence[Photo]) -> tuple[Photo, ...]:
        """Those of the photos that were not learned, in order."""
        learned = self.photos_learned(photos)
        return tuple(photo for photo, drop in zip(photos, learned, strict=True) if not drop)


def _stack(photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """Fingerprints of photos, (photos, 320)."""
    together = b"".join(photo.fingerprint for photo in photos)
    return np.frombuffer(together, dtype=np.uint8).reshape(len(photos), FINGERPRINT_BYTES)


def _hashes(prints: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(prints[:, :HASH_BYTES]).view(np.uint64)


def _near_hashes(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (i, j) of different hashes, (n, 4), within MAX_DISTANCE; some more than once.

    Hashes are sorted by some of their bits, in another random order each time, and each is compared
    with the WINDOW hashes after it: near ones soon share the leading bits. So the work grows with
    the hashes and not with their pairs, however many of them are alike. Method: Charikar,
    "Similarity Estimation Techniques from Rounding Algorithms" (2002), section 5.
    """
    count, chance = len(hashes), np.random.default_rng(0)
    # Neighbouring cells are alike. Shuffled, leading bits tell more.
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    words = _hashes(np.packbits(bits[:, chance.permutation(bits.shape[1])], axis=1)).T.copy()
    del bits
    low = np.uint64((1 << count.bit_length()) - 1)
    drawn = [(chance.integers(1, 64, 4), chance.integers(0, 4, 64)) for _ in range(ORDERS)]

    def near(turns: NDArray[np.int64], sources: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        # Each bit of the key comes from one of the four words, each turned by a number of its own.
        key = np.zeros(count, dtype=np.uint64)
        for word, turn, number in zip(words, turns.astype(np.uint64), range(4), strict=True):
            mask = np.packbits(sources == number).view(np.uint64)[0]
            key |= (word << turn | word >> (np.uint64(64) - turn)) & mask
        order = (np.sort(key & ~low | np.arange(count, dtype=np.uint64)) & low).astype(np.int64)
        ordered = np.pad(words[:, order], ((0, 0), (0, WINDOW)))
        found, start = list[NDArray[np.int64]](), 0
        while start < count - 1:
            width = min(WINDOW, count - 1 - start)
            stop = min(count, start + max(1, BLOCK_PAIRS // width))
            distance = np.zeros((stop - start, width), dtype=np.uint16)
            for word in ordered:
                after = sliding_window_view(word[start + 1 : stop + width], width)
                distance += np.bitwise_count(word[start:stop, None] ^ after)
            row, column = np.divmod(np.flatnonzero(distance <= MAX_DISTANCE), width)
            i, j = row + start, row + start + 1 + column
            found.append(order[np.stack([i[j < count], j[j < count]], axis=1)])
            start = stop
            # Joined before more are found: photos that are all alike have too many pairs to hold.
            if start >= count - 1 or sum(map(len, found)) >= count:
                yield np.concatenate(found)
                found.clear()

    threads = usable_cpus()
    with ThreadPoolExecutor(threads) as pool:
        for first in Bar(range(0, ORDERS, threads), desc="comparing photos"):
            searches = [near(*each) for each in drawn[first : first + threads]]
            while searches:
                steps = list(pool.map(lambda search: (search, next(search, None)), searches))
                searches = [search for search, pairs in steps if pairs is not None]
                yield from (pairs for _, pairs in steps if pairs is not None)


def _near_some(hashes: NDArray[np.uint64], some: NDArray[np.intp]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (i, j) of hashes, (n, 4), within MAX_DISTANCE, of which i is among some."""
    width = max(1, BLOCK_PAIRS // max(1, len(some)))
    for start in Bar(range(0, len(hashes), width), desc="comparing photos"):
        others = hashes[start : start + width]
        distance = np.zeros((len(some), len(others)), dtype=np.uint16)
        for word, after in zip(hashes[some].T, others.T, strict=True):
            distance += np.bitwise_count(word[:, None] ^ after)
        i, j = np.nonzero(distance <= MAX_DISTANCE)
        yield np.stack([some[i], start + j], axis=1)


def _agreeing(prints: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those pairs of fingerprints whose detail correlates enough."""
    agreeing = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), CHECKED_PAIRS):
        left, right = (prints[row, HASH_BYTES:] for row in pairs[start : start + CHECKED_PAIRS].T)
        products = _PRODUCTS[left.astype(np.uint16) << 8 | right].sum(axis=1, dtype=np.int32)
        least = MIN_AGREEMENT * 2 * left.shape[1] / DETAIL_STEP**2
        agreeing[start : start + CHECKED_PAIRS] = products >= least
    return pairs[agreeing]
