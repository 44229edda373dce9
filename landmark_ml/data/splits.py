"""Assign photos to train, val and test: stratified, seeded, no picture in two splits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from landmark_ml.data.dataset import NOT_A_LANDMARK, Photo, Split

if TYPE_CHECKING:
    from landmark_ml.data.near_duplicates import GroupedPhoto

_RANK: dict[Split | None, int] = {None: 0, "train": 0, "val": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the photos of a class that go to val and test; 0: none."""

    val: float
    test: float


# Rejection is fitted on one half of the distractors and measured on the other half.
DISTRACTOR_FRACTIONS = Fractions(val=0.15, test=0.5)


class Assignment(NamedTuple):
    """Photos by split; leaked and conflicting photos are in none, see `Dataset`."""

    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    leaked: tuple[Photo, ...]
    conflicting: tuple[Photo, ...]


def split_photos(
    photos: Sequence[GroupedPhoto],
    fractions: Fractions,
    seed: int,
    distractors: Fractions = DISTRACTOR_FRACTIONS,
) -> Assignment:
    """Assign whole groups of photos to splits; a photo in a given val or test folder stays there.

    A photo whose group reaches into a given test (or val) folder is leaked and left out of the
    splits before it. Where a group goes depends on its content and the seed alone, not on the
    names, order or place of its files.
    """
    labels: dict[str, set[int]] = defaultdict(set)
    highest: dict[int, int] = defaultdict(int)
    found: dict[str, list[Photo]] = {field: [] for field in Assignment._fields}
    sound: list[GroupedPhoto] = []
    unassigned: dict[int, list[Photo]] = defaultdict(list)
    for item in photos:
        labels[item.photo.sha256].add(item.photo.label)
    for item in photos:
        # A given test folder is left as it is, whatever other folders say about its photos.
        if len(labels[item.photo.sha256]) > 1 and item.given != "test":
            found["conflicting"].append(item.photo)
        else:
            sound.append(item)
            highest[item.group] = max(highest[item.group], _RANK[item.given])
    for item in sound:
        if _RANK[item.given] < highest[item.group]:
            found["leaked"].append(item.photo)
        elif item.given:
            found[item.given].append(item.photo)
        else:
            unassigned[item.group].append(item.photo)
    for group, split in _assign(unassigned, fractions, distractors, seed).items():
        found[split] += unassigned[group]
    return Assignment(
        **{
            field: tuple(sorted(kept, key=lambda photo: (photo.label, photo.sha256, photo.path)))
            for field, kept in found.items()
        }
    )


def split_again(
    photos: Sequence[GroupedPhoto], fractions: Fractions, seed: int, again: int
) -> Assignment:
    """Keep the test split of `split_photos`; assign the other photos with seed `again`."""
    tested = {photo.path for photo in split_photos(photos, fractions, seed).test}
    fixed = [replace(item, given="test") if item.photo.path in tested else item for item in photos]
    landmarks, distractors = (
        Fractions(val=shares.val / (1 - shares.test), test=0.0)
        for shares in (fractions, DISTRACTOR_FRACTIONS)
    )
    return split_photos(fixed, landmarks, again, distractors)


def _assign(
    groups: dict[int, list[Photo]], fractions: Fractions, distractors: Fractions, seed: int
) -> dict[int, Split]:
    """Choose a split for every group, class by class; train, then val, then test is never empty."""

    def shuffled(group: int) -> str:
        # Hashing content with the seed shuffles without an order to start from: a photo that is
        # added to the folder later leaves most others in their split.
        content = min(photo.sha256 for photo in groups[group])
        return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()

    sizes_of: dict[int, dict[int, int]] = defaultdict(dict)
    for group in sorted(groups, key=shuffled):
        sizes_of[_main_label(groups[group])][group] = len(groups[group])
    splits: dict[int, Split] = {}
    for label, sizes in sizes_of.items():
        shares = distractors if label == NOT_A_LANDMARK else fractions
        total = sum(sizes.values())
        test = _take(sizes, shares.test * total, leave=2 if shares.val else 1)
        rest = {group: size for group, size in sizes.items() if group not in test}
        val = _take(rest, shares.val * total, leave=1)
        for group in sizes:
            splits[group] = "test" if group in test else "val" if group in val else "train"
    return splits


def _main_label(photos: Sequence[Photo]) -> int:
    counts = Counter(photo.label for photo in photos)
    # A landmark comes first. Distractors have fractions of their own, which would move a landmark's
    # photos to test even if the dataset has a test folder.
    return min(counts, key=lambda label: (label == NOT_A_LANDMARK, -counts[label], label))


def _take(sizes: dict[int, int], target: float, leave: int) -> set[int]:
    """Take groups in order until target photos are reached; at least one if enough are left."""
    limit = len(sizes) - leave
    if target <= 0 or limit <= 0:
        return set()
    taken: set[int] = set()
    count = 0
    for group, size in sizes.items():
        if len(taken) < limit and count + size <= round(target):
            taken.add(group)
            count += size
    return taken or {min(sizes, key=lambda group: sizes[group])}
