"""The photos of a dataset: what each shows, and which side it is on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOT_A_LANDMARK = -1
"""Label of a photo that shows none of the dataset's landmarks."""

Side = Literal["train", "val", "test"]


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
    """A file that no picture could be decoded from, with the `PhotoError` code and sentence."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos on three sides; photos labelled `NOT_A_LANDMARK` stand on each side too.

    leaked: photos left out of train (or val) because the same or nearly the same photo stands
    in a given test (or val) folder. conflicting: photos left out of train and val because the
    same bytes also stand under another label, so that neither label can be trusted.
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
        """Number of landmarks; photos of none of them are not a class."""
        return len(self.classes)

    def split(self, side: Side) -> tuple[Photo, ...]:
        """Every photo of a side, with and without a landmark."""
        sides: dict[Side, tuple[Photo, ...]] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return sides[side]

    def landmarks(self, side: Side) -> tuple[Photo, ...]:
        """Those photos of a side that show a landmark of `classes`."""
        return tuple(photo for photo in self.split(side) if photo.label != NOT_A_LANDMARK)

    def distractors(self, side: Side) -> tuple[Photo, ...]:
        """Those photos of a side that show none of `classes`."""
        return tuple(photo for photo in self.split(side) if photo.label == NOT_A_LANDMARK)

    def class_counts(self, side: Side) -> dict[str, int]:
        """Photos a class on a side, in class order, zero included."""
        counts = Counter(photo.label for photo in self.landmarks(side))
        return {name: counts[label] for label, name in enumerate(self.classes)}


def label_name(label: int, classes: Sequence[str]) -> str:
    """Class name of a label; empty for `NOT_A_LANDMARK`."""
    return "" if label == NOT_A_LANDMARK else classes[label]
