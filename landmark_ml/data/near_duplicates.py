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
from numpy.lib.stride_tricks import sliding_window_view
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
# Chosen on made-up hashes that are alike as those of photos are, with copies of them.
ORDERS = 256
"""Orders that hashes are sorted in; each may bring pairs together that no other did."""
WINDOW = 32
"""Hashes after it in an order that each one is compared with."""
ALL_PAIRS = 1 << 14
"""Hashes up to which every pair is compared, which is no slower there."""
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
    and agreeing detail. Each photo has its fingerprint.
    """
    return _group([photo.sha256 for photo in photos], _stack(photos))


def _group(contents: Sequence[str], prints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Groups of photos by their sha256 and fingerprints, (photos, 320)."""
    count = len(contents)
    groups = np.unique(np.array(contents, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
    if not count:
        return groups

    def join(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        apart = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
        joined = groups[_agreeing(prints, apart)]
        edges = coo_array((np.ones(len(joined), dtype=np.int8), joined.T), shape=(count, count))
        return connected_components(edges, directed=False)[1].astype(np.int64)[groups]

    # Photos with equal hashes are compared with the first of them only.
    hashes, first, codes = np.unique(
        _hashes(prints), axis=0, return_index=True, return_inverse=True
    )
    groups = join(np.stack([np.arange(count), first[codes.ravel()]], axis=1))
    for pairs in _near_hashes(hashes):
        groups = join(first[pairs])
    return groups


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
        """Whether each photo is in a group with one that was learned: shape (photos,)."""
        learned = np.array([photo.sha256 in self.contents for photo in photos], dtype=bool)
        asked = [row for row, photo in enumerate(photos) if photo.fingerprint]
        known = [photos[row] for row in asked]
        contents = [photo.sha256 for photo in known] + [""] * len(self.prints)
        groups = _group(contents, np.concatenate([_stack(known), self.prints]))
        learned[asked] |= np.isin(groups[: len(asked)], groups[len(asked) :])
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


def _near_hashes(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (i, j) of different hashes, (n, 4), within MAX_DISTANCE; some more than once.

    Hashes are sorted by some of their bits, in another random order each time, and each is compared
    with the WINDOW hashes after it: near ones soon share the leading bits. So the work grows with
    the hashes and not with their pairs, however many of them are alike. Method: Charikar,
    "Similarity Estimation Techniques from Rounding Algorithms" (2002), section 5.
    """
    count, chance = len(hashes), np.random.default_rng(0)
    orders, window = (ORDERS, WINDOW) if count > ALL_PAIRS else (1, count)
    # Neighbouring cells are alike. Shuffled, leading bits tell more.
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    words = _hashes(np.packbits(bits[:, chance.permutation(bits.shape[1])], axis=1)).T.copy()
    del bits
    low = np.uint64((1 << count.bit_length()) - 1)
    drawn = [(chance.integers(1, 64, 4), chance.integers(0, 4, 64)) for _ in range(orders)]

    def near(turns: NDArray[np.int64], sources: NDArray[np.int64]) -> NDArray[np.int64]:
        # Each bit of the key comes from one of the four words, each turned by a number of its own.
        key = np.zeros(count, dtype=np.uint64)
        for word, turn, number in zip(words, turns.astype(np.uint64), range(4), strict=True):
            mask = np.packbits(sources == number).view(np.uint64)[0]
            key |= (word << turn | word >> (np.uint64(64) - turn)) & mask
        order = (np.sort(key & ~low | np.arange(count, dtype=np.uint64)) & low).astype(np.int64)
        ordered = np.pad(words[:, order], ((0, 0), (0, window)))
        found, start = [np.zeros((0, 2), dtype=np.int64)], 0
        while start < count - 1:
            width = min(window, count - 1 - start)
            stop = min(count, start + max(1, BLOCK_PAIRS // width))
            distance = np.zeros((stop - start, width), dtype=np.uint16)
            for word in ordered:
                after = sliding_window_view(word[start + 1 : stop + width], width)
                distance += np.bitwise_count(word[start:stop, None] ^ after)
            row, column = np.divmod(np.flatnonzero(distance <= MAX_DISTANCE), width)
            i, j = row + start, row + start + 1 + column
            found.append(order[np.stack([i[j < count], j[j < count]], axis=1)])
            start = stop
        return np.concatenate(found)

    threads = usable_cpus()
    with ThreadPoolExecutor(threads) as pool:
        for first in Bar(range(0, orders, threads), desc="comparing photos"):
            yield from pool.map(near, *zip(*drawn[first : first + threads], strict=True))


def _agreeing(prints: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those pairs of fingerprints whose detail correlates enough."""
    agreeing = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), CHECKED_PAIRS):
        left, right = (prints[row, _HASH_BYTES:] for row in pairs[start : start + CHECKED_PAIRS].T)
        products = _PRODUCTS[left.astype(np.uint16) << 8 | right].sum(axis=1, dtype=np.int32)
        least = MIN_AGREEMENT * 2 * left.shape[1] / _DETAIL_STEP**2
        agreeing[start : start + CHECKED_PAIRS] = products >= least
    return pairs[agreeing]
