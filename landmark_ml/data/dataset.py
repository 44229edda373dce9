"""The photos of a dataset: what each one shows and which split it is in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOT_A_LANDMARK = -1
"""Label of a distractor: a photo that shows none of the dataset's landmarks."""

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Photo:
    """One readable photo of a dataset; label is an index into `Dataset.classes`.

    width and height are those of the full-size upright photo, in pixels.
    """

    path: Path
    label: int
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class UnreadablePhoto:
    """A file that could not be decoded, with the `PhotoError` code and sentence."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos in three splits; each split holds distractors (label `NOT_A_LANDMARK`) too.

    leaked: photos left out of train (or val) because the same or nearly the same photo is in a
    given test (or val) folder. conflicting: photos left out of train and val because the same
    bytes also have another label, so that neither label can be trusted.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    unreadable: tuple[UnreadablePhoto, ...] = ()
    leaked: tuple[Photo, ...] = ()
    conflicting: tuple[Photo, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of landmarks; distractors are not a class."""
        return len(self.classes)

    def split(self, split: Split) -> tuple[Photo, ...]:
        """Every photo of a split, distractors included."""
        photos: tuple[Photo, ...] = getattr(self, split)
        return photos

    def landmarks(self, split: Split) -> tuple[Photo, ...]:
        """The photos of a split that show a landmark of `classes`."""
        return tuple(photo for photo in self.split(split) if photo.label != NOT_A_LANDMARK)

    def distractors(self, split: Split) -> tuple[Photo, ...]:
        """The photos of a split that show none of `classes`."""
        return tuple(photo for photo in self.split(split) if photo.label == NOT_A_LANDMARK)

    def class_counts(self, split: Split) -> dict[str, int]:
        """Number of photos per class in a split, in class order, zeros included."""
        counts = Counter(photo.label for photo in self.landmarks(split))
        return {name: counts[label] for label, name in enumerate(self.classes)}


def label_name(label: int, classes: Sequence[str]) -> str:
    """Class name of a label; empty for `NOT_A_LANDMARK`."""
    return "" if label == NOT_A_LANDMARK else classes[label]
