"""The photos of a dataset, which split each is on, and the manifest that records it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOT_A_LANDMARK = -1
"""Label of a photo that shows none of the dataset's landmarks."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One readable photo of a dataset; label is an index into `Dataset.classes`."""

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
    """Photos on three sides; photos labelled `NOT_A_LANDMARK` stand on each side too."""

    name: str
    root: Path
    classes: tuple[str, ...]
    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    unreadable: tuple[UnreadablePhoto, ...] = ()
    leaked: tuple[Photo, ...] = ()
