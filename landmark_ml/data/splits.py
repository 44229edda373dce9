"""Assign photos to train, val and test: seeded, class by class, and for ever.

Photos that belong together are one group and go to one split: near-duplicates, and a visit, the
photos of one landmark that one camera took on one day. A group draws a number in [0, 1) from a hash
of the seed and its key, its visit or else its bytes. Below the test share it goes to test, within
the val share of 1 to val. So it stays in its split when other photos come or go.

Four things can move a photo. Each needs a small class or a change within its own group:

- A class of three groups or more has one in each split, a class of two in train and val. Where the
  numbers leave a split empty, the nearest group goes there; it goes back when the class grows.
- A group of more than half the photos of its class stays in train.
- The key of a group is that of its largest photo, those with a visit first. So a smaller copy moves
  nothing, unless it alone has a visit; one of the same size or larger can.
- A photo that resembles two groups makes them one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def split_photos(photos: Sequence[GroupedPhoto], fractions: Fractions, seed: int) -> Assignment:
    """Assign whole groups of photos to splits; a photo in a given val or test folder stays there.

    A photo with a near-duplicate in a given test (or val) folder is leaked and left out of the
    splits before it. Where a group goes depends on its content, the shares and the seed, not on the
    names, order or place of its files, and as a rule not on other photos: see the module.
    """
    labels: dict[str, set[int]] = defaultdict(set)
    highest: dict[int, int] = defaultdict(int)
    found: dict[str, list[Photo]] = {field: [] for field in Assignment._fields}
    sound: list[GroupedPhoto] = []
    unassigned: list[GroupedPhoto] = []
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
            unassigned.append(item)
    of_class: dict[int, list[_Group]] = defaultdict(list)
    for group in _groups(unassigned, seed):
        of_class[group.label].append(group)
    for label, groups in of_class.items():
        shares = DISTRACTOR_FRACTIONS if label == NOT_A_LANDMARK else fractions
        for split, group in _assign(groups, shares):
            found[split] += group.photos
    return Assignment(
        **{
            field: tuple(sorted(kept, key=lambda photo: (photo.label, photo.sha256, photo.path)))
            for field, kept in found.items()
        }
    )


@dataclass(frozen=True, slots=True)
class _Group:
    photos: tuple[Photo, ...]
    label: int
    number: float


def _groups(items: Sequence[GroupedPhoto], seed: int) -> list[_Group]:
    """Join near-duplicates and visits to groups, and draw the number of each."""
    # A visit to several landmarks is one group for each: every class needs groups of its own.
    visits = [(item.photo.label, item.photo.visit) for item in items]
    nodes: dict[object, int] = {}
    left = [nodes.setdefault(item.group, len(nodes)) for item in items]
    right = [
        nodes.setdefault(visit, len(nodes)) if visit[1] else node
        for visit, node in zip(visits, left, strict=True)
    ]
    edges = coo_array((np.ones(len(items)), (left, right)), shape=(len(nodes), len(nodes)))
    _, joined = connected_components(edges, directed=False)
    members: dict[int, list[Photo]] = defaultdict(list)
    for item, node in zip(items, left, strict=True):
        members[joined[node]].append(item.photo)
    return [_group(photos, seed) for photos in members.values()]


def _group(photos: list[Photo], seed: int) -> _Group:
    counts = Counter(photo.label for photo in photos)
    # A landmark comes first. Distractors have fractions of their own, which would move a landmark's
    # photos to test even if the dataset has a test folder.
    label = min(counts, key=lambda label: (label == NOT_A_LANDMARK, -counts[label], label))
    first = max(photos, key=lambda one: (bool(one.visit), one.width * one.height, one.sha256))
    drawn = hashlib.sha256(f"{seed}:{first.visit or first.sha256}".encode()).digest()
    return _Group(tuple(photos), label, int.from_bytes(drawn[:8]) / 2**64)


def _assign(groups: list[_Group], shares: Fractions) -> Iterator[tuple[Split, _Group]]:
    """Choose a split for every group of one class."""
    total = sum(len(group.photos) for group in groups)
    # One group is train's. Of two the second is for val, and test has the third.
    most = len(groups) - 1
    free: list[_Group] = []
    for group in sorted(groups, key=lambda group: group.number):
        if most and 2 * len(group.photos) > total:
            yield "train", group
        else:
            free.append(group)
    least_val = int(shares.val > 0 and most >= 1)
    least_test = int(shares.test > 0 and most >= 1 + least_val)
    val = sum(group.number >= 1 - shares.val for group in free)
    val = min(max(val, least_val), most - least_test)
    test = sum(group.number < shares.test for group in free)
    test = min(max(test, least_test), most - val)
    for rank, group in enumerate(free):
        yield "test" if rank < test else "val" if rank >= len(free) - val else "train", group
