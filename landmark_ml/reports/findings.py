"""What is wrong with a dataset: each finding names a photo or a class and says why it matters."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

from landmark_ml.data import label_name
from landmark_ml.figures import FEW_PHOTOS
from landmark_ml.files import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from landmark_ml.data import Dataset, Photo, Split
    from landmark_ml.geo.gazetteer import Gazetteer

Problem = Literal[
    "refused", "unreadable", "conflicting", "leaked", "repeated", "small", "unmeasured", "place"
]

HEADLINES: dict[Problem, tuple[str, str]] = {
    "refused": ("Reasons why training refuses this dataset", "raise the limit or mend the data"),
    "unreadable": ("Unreadable files", "skipped; repair or remove them"),
    "conflicting": ("Photos under more than one label", "keep each under the right one"),
    "leaked": ("Photos left out", "the same picture is in a given val or test folder"),
    "repeated": ("Photos that are there more than once", "copies teach nothing new"),
    "small": (f"Classes with fewer than {FEW_PHOTOS} training photos", "add photos"),
    "unmeasured": ("Classes without photos to choose or to measure by", "add photos"),
    "place": ("Classes with no place", "no location and no tags; add rows to places.csv"),
}
"""What each problem is called, and what it means or what to do about it."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong; subject is a class, or a file by its path from the dataset's root."""

    problem: Problem
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything found wrong with a dataset, in the order of `HEADLINES`."""

    found: tuple[Finding, ...]

    def of(self, problem: Problem) -> tuple[Finding, ...]:
        """Select the findings of one kind."""
        return tuple(finding for finding in self.found if finding.problem == problem)

    def counts(self) -> dict[Problem, int]:
        """Count the findings of each kind, zero included."""
        return {problem: len(self.of(problem)) for problem in HEADLINES}

    def table(self) -> pd.DataFrame:
        """All findings with the columns problem, subject and detail."""
        columns = ["problem", "subject", "detail"]
        return pd.DataFrame([asdict(finding) for finding in self.found], columns=columns)

    def summary(self) -> str:
        """Markdown list of the kinds found, each with its first few findings."""
        if not self.found:
            return "Nothing wrong found.\n"
        lines: list[str] = []
        for problem, (title, advice) in HEADLINES.items():
            findings = self.of(problem)
            if not findings:
                continue
            lines.append(f"- {title}: {len(findings)} ({advice})")
            lines += [f"  - `{item.subject}`: {item.detail}" for item in findings[:_SHOWN]]
            if len(findings) > _SHOWN:
                lines.append(f"  - … and {len(findings) - _SHOWN} more")
        return "\n".join(lines) + "\n"


def inspect_dataset(dataset: Dataset, gazetteer: Gazetteer, max_unreadable: float) -> Findings:
    """Look for unreadable, conflicting, leaked and repeated photos, and for weak classes.

    max_unreadable: share of unreadable files past which training refuses a dataset.
    """
    return Findings(
        (
            *_refused(dataset, max_unreadable),
            *_unreadable(dataset),
            *_conflicting(dataset),
            *_leaked(dataset),
            *_repeated(dataset),
            *_weak_classes(dataset),
            *_placeless(dataset, gazetteer),
        )
    )


def _refused(dataset: Dataset, max_unreadable: float) -> Iterator[Finding]:
    unreadable = len(dataset.unreadable)
    total = len(_every_photo(dataset)) + unreadable
    if unreadable > max_unreadable * total:
        share = f"{unreadable} of {total} files are unreadable"
        yield Finding(
            "refused", dataset.name, f"{share}, more than max_unreadable {max_unreadable:g}"
        )


def _unreadable(dataset: Dataset) -> Iterator[Finding]:
    for file in dataset.unreadable:
        name = _shown(file.path, dataset.root)
        yield Finding("unreadable", name, f"{file.code}: {file.reason}")


def _conflicting(dataset: Dataset) -> Iterator[Finding]:
    for photos in _same_bytes(_every_photo(dataset)):
        if len({photo.label for photo in photos}) > 1:
            first, *others = photos
            also = ", ".join(
                f"{_label(photo, dataset)} as {_shown(photo.path, dataset.root)}"
                for photo in others
            )
            detail = f"labelled {_label(first, dataset)}, and {also}"
            yield Finding("conflicting", _shown(first.path, dataset.root), detail)


def _leaked(dataset: Dataset) -> Iterator[Finding]:
    for photo in dataset.leaked:
        detail = f"of {_label(photo, dataset)}; its like is kept on the given side"
        yield Finding("leaked", _shown(photo.path, dataset.root), detail)


def _repeated(dataset: Dataset) -> Iterator[Finding]:
    for photos in _same_bytes((*dataset.train, *dataset.val, *dataset.test)):
        if len({photo.label for photo in photos}) == 1:
            first, *others = (_shown(photo.path, dataset.root) for photo in photos)
            yield Finding("repeated", first, f"the same file as {', '.join(others)}")


def _weak_classes(dataset: Dataset) -> Iterator[Finding]:
    for name, count in dataset.class_counts("train").items():
        if count < FEW_PHOTOS:
            yield Finding("small", name, f"{count} training photos")
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        for name, count in dataset.class_counts(split).items():
            if not count:
                yield Finding("unmeasured", name, f"no {split} photos")


def _placeless(dataset: Dataset, gazetteer: Gazetteer) -> Iterator[Finding]:
    for name in dataset.classes:
        if gazetteer.find(name) is None:
            yield Finding("place", name, "not in the gazetteer")


def _every_photo(dataset: Dataset) -> tuple[Photo, ...]:
    sides = (*dataset.train, *dataset.val, *dataset.test)
    return (*sides, *dataset.leaked, *dataset.conflicting)


def _same_bytes(photos: Sequence[Photo]) -> list[list[Photo]]:
    by_content: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: photo.path):
        by_content[photo.sha256].append(photo)
    return [same for same in by_content.values() if len(same) > 1]


def _label(photo: Photo, dataset: Dataset) -> str:
    return label_name(photo.label, dataset.classes) or "no landmark"


def _shown(path: Path, root: Path) -> str:
    return spelled(os.path.relpath(path, root))
