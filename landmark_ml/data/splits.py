"""Deal photos to train, val and test: stratified, seeded, no picture on two sides."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from landmark_ml.data.dataset import NOT_A_LANDMARK, Photo, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

logger = logging.getLogger(__name__)

_RANK: dict[Side | None, int] = {None: 0, "train": 0, "val": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the photos of a class that go to val and test; 0 makes no such side."""

    val: float
    test: float


# Rejection is fitted on one half of the photos of no landmark and measured on the other half.
NOT_LANDMARK_FRACTIONS = Fractions(val=0.15, test=0.5)


@dataclass(frozen=True, slots=True)
class PlacedPhoto:
    """A photo, the group of same pictures it belongs to and the side its folder gave it."""

    photo: Photo
    group: int
    side: Side | None


@dataclass(frozen=True, slots=True)
class Split:
    """Photos by side; leaked and conflicting ones stand on none, as in `Dataset`."""

    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    leaked: tuple[Photo, ...]
    conflicting: tuple[Photo, ...]


def split_photos(
    placed: Sequence[PlacedPhoto],
    fractions: Fractions,
    seed: int,
    not_landmarks: Fractions = NOT_LANDMARK_FRACTIONS,
) -> Split:
    """Deal photos to sides, whole groups at a time; photos with a given side stay on it.

    A photo whose group reaches into a given test (or val) folder is leaked and left out of the
    sides before it. Which side a group goes to depends on its content and the seed alone: not on
    names, order or place of the files.
    """
    conflicting, sound = _separate_conflicting(placed)
    top = _top_ranks(sound)
    leaked = [item.photo for item in sound if _RANK[item.side] < top[item.group]]
    kept = [item for item in sound if _RANK[item.side] == top[item.group]]
    loose = [item for item in kept if item.side is None]
    dealt = _deal(loose, fractions, not_landmarks, seed)
    sides: dict[Side, list[Photo]] = {"train": [], "val": [], "test": []}
    for item in kept:
        sides[item.side or dealt[item.group]].append(item.photo)
    return Split(
        train=_ordered(sides["train"]),
        val=_ordered(sides["val"]),
        test=_ordered(sides["test"]),
        leaked=_ordered(leaked),
        conflicting=_ordered(conflicting),
    )


def split_again(
    placed: Sequence[PlacedPhoto], fractions: Fractions, seed: int, again: int
) -> Split:
    """The same test side as `split_photos` deals, its train and val photos dealt anew."""
    first = split_photos(placed, fractions, seed)
    tested = {photo.path for photo in first.test}
    fixed = [replace(item, side="test") if item.photo.path in tested else item for item in placed]
    rest, strangers = (
        Fractions(val=shares.val / (1 - shares.test), test=0.0)
        for shares in (fractions, NOT_LANDMARK_FRACTIONS)
    )
    return split_photos(fixed, rest, again, strangers)


def _separate_conflicting(
    placed: Sequence[PlacedPhoto],
) -> tuple[list[Photo], list[PlacedPhoto]]:
    """Take out photos whose bytes stand under two labels; a given test folder is left as it is."""
    labels: dict[str, set[int]] = defaultdict(set)
    for item in placed:
        labels[item.photo.sha256].add(item.photo.label)
    conflicting, sound = [], []
    for item in placed:
        if len(labels[item.photo.sha256]) > 1 and item.side != "test":
            conflicting.append(item.photo)
        else:
            sound.append(item)
    return conflicting, sound


def _top_ranks(placed: Sequence[PlacedPhoto]) -> dict[int, int]:
    top: dict[int, int] = defaultdict(int)
    for item in placed:
        top[item.group] = max(top[item.group], _RANK[item.side])
    return top


def _deal(
    placed: Sequence[PlacedPhoto], fractions: Fractions, not_landmarks: Fractions, seed: int
) -> dict[int, Side]:
    """Choose a side for every group."""
    members: dict[int, list[Photo]] = defaultdict(list)
    for item in placed:
        members[item.group].append(item.photo)
    by_label: dict[int, list[int]] = defaultdict(list)
    for group in sorted(members, key=lambda group: _shuffle_key(members[group], seed)):
        by_label[_main_label(members[group])].append(group)
    sizes = {group: len(photos) for group, photos in members.items()}
    sides: dict[int, Side] = {}
    for label, groups in by_label.items():
        shares = not_landmarks if label == NOT_A_LANDMARK else fractions
        sides |= _deal_class({group: sizes[group] for group in groups}, shares)
    return sides


def _deal_class(sizes: dict[int, int], fractions: Fractions) -> dict[int, Side]:
    """Deal the groups of one class in their order; train, then val, then test is never empty."""
    total = sum(sizes.values())
    needs_val = fractions.val > 0
    test = _take(sizes, fractions.test * total, leave=1 + needs_val)
    rest = {group: size for group, size in sizes.items() if group not in test}
    val = _take(rest, fractions.val * total, leave=1)
    return {
        group: "test" if group in test else "val" if group in val else "train" for group in sizes
    }


def _take(sizes: dict[int, int], target: float, leave: int) -> set[int]:
    """Pick groups in order until target photos are reached; at least one if enough are left."""
    most = len(sizes) - leave
    if target <= 0 or most <= 0:
        return set()
    taken: set[int] = set()
    count = 0
    for group, size in sizes.items():
        if len(taken) < most and count + size <= round(target):
            taken.add(group)
            count += size
    return taken or {min(sizes, key=lambda group: sizes[group])}


def _shuffle_key(photos: Iterable[Photo], seed: int) -> str:
    # Hashing content with the seed shuffles without an order to start from: a photo added to the
    # folder later leaves most others on their side.
    content = min(photo.sha256 for photo in photos)
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


def _main_label(photos: Iterable[Photo]) -> int:
    counts = Counter(photo.label for photo in photos)
    # A landmark, where one is among them: photos of none have shares of their own, which would
    # take others to a test side that the dataset brought with it.
    return min(counts, key=lambda label: (label == NOT_A_LANDMARK, -counts[label], label))


def _ordered(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    return tuple(sorted(photos, key=lambda photo: (photo.label, photo.sha256, photo.path)))
