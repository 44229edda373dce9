"""Photos of one moment are answered once: a burst, or a raw file and its JPEG."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import cast

from landmark_ml.data.scanning import HASH_BYTES, fingerprint
from landmark_ml.inference.photos import PhotoError, decode_photo
from landmark_ml.inference.prediction import Prediction
from serving.tagging.library import Tagged, printable

NEAR_BITS = 64
"""Bits of 256 in which the hashes of two photos of one burst may differ.

Of 150 photos of landmarks50, each twice with a shake of up to 2% of its width, 98% are within; of
150 pairs of other photos of the same landmark none is.
"""
_DECODED_SIDE = 64
_PLACE = ("latitude", "longitude", "city", "country", "location_source")


def answer_once(
    photos: Iterable[Tagged], read: Callable[[Path], bytes | OSError]
) -> Iterator[Tagged]:
    """Give photos of a folder, camera and second that look alike the answer of the surest of them.

    The others name it in `same_as`, and keep the positions of their own EXIF. photos: in order of
    path; read: as for `recognise`.
    """
    for _, group in groupby(photos, _moment):
        burst = sorted(group, key=_sureness, reverse=True)
        if len(burst) == 1:
            yield from burst
            continue
        firsts: list[tuple[int, Tagged]] = []
        for number, photo in enumerate(burst):
            if (look := _look(read(photo.path))) is None:
                continue
            alike = (first for seen, first in firsts if (seen ^ look).bit_count() <= NEAR_BITS)
            if first := next(alike, None):
                burst[number] = _joined(photo, first)
            else:
                firsts.append((look, photo))
        yield from sorted(burst, key=attrgetter("path"))


def _moment(photo: Tagged) -> tuple[object, ...]:
    """What photos of one burst share; nobody else has it of a photo without a time."""
    if not (photo.camera and photo.taken) or photo.answer["error"] is not None:
        return (photo.path,)
    has_position = photo.answer["location_source"] == "exif"
    return photo.path.parent, photo.camera, photo.taken, has_position


def _sureness(photo: Tagged) -> tuple[bool, float]:
    return bool(photo.answer["is_landmark"]), photo.answer["confidence"] or 0.0


def _look(content: bytes | OSError) -> int | None:
    """The hash of a photo; None for one that is gone or changed in the meantime."""
    if isinstance(content, OSError):
        return None
    with contextlib.suppress(PhotoError):
        picture = decode_photo(content, min_side=_DECODED_SIDE)
        return int.from_bytes(fingerprint(picture)[:HASH_BYTES])
    return None


def _joined(photo: Tagged, first: Tagged) -> Tagged:
    answer = dict(first.answer)
    if photo.answer["location_source"] == "exif":
        answer |= {name: value for name, value in photo.answer.items() if name in _PLACE}
    return photo._replace(answer=cast("Prediction", answer), same_as=printable(first.path))
