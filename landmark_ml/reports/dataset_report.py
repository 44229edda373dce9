"""A dataset before training on it: its figures, its split manifest, and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from landmark_ml.config import DataConfig, TrainConfig, user_path
from landmark_ml.console import counted
from landmark_ml.data import SPLITS, Dataset, Photo, label_name
from landmark_ml.data.near_duplicates import group_near_duplicates
from landmark_ml.data.opening import open_dataset
from landmark_ml.data.places import open_gazetteer
from landmark_ml.figures.dataset import FEW_PHOTOS
from landmark_ml.files import spelled
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.networks.create import create_preprocessing
from landmark_ml.reports.training_report import log_dataset_figures
from landmark_ml.tracking import run as tracking

Problem = Literal[
    "refused", "unreadable", "conflicting", "leaked", "repeated", "small", "unmeasured", "place"
]

HEADLINES: dict[Problem, tuple[str, str]] = {
    "refused": ("Reasons why training refuses this dataset", "raise the limit or fix the data"),
    "unreadable": ("Unreadable files", "skipped; repair or remove them"),
    "conflicting": ("Photos under more than one label", "keep each under the right one"),
    "leaked": ("Photos left out", "the same picture is in a given val or test folder"),
    "repeated": ("Photos that are there more than once", "copies teach nothing new"),
    "small": (f"Classes with fewer than {FEW_PHOTOS} training photos", "add photos"),
    "unmeasured": ("Classes without val or test photos", "add photos"),
    "place": ("Classes with no place", "no location and no tags; add rows to places.csv"),
}
"""What each problem is called, and what it means or what to do about it."""
_SHOWN = 5


class DataIssue(NamedTuple):
    """One thing wrong; subject is a class, or a file by its path from the dataset's root."""

    problem: Problem
    subject: str
    detail: str


@dataclass(frozen=True)
class DatasetReport:
    """The dataset as training would see it, what is wrong with it, and where the run is.

    description: Markdown, what it holds and how many photos stay together. issues: in the order of
    `HEADLINES`.
    """

    run_id: str
    location: str
    dataset: Dataset
    description: str
    issues: list[DataIssue]


def report_dataset(config: DataConfig, training: TrainConfig) -> DatasetReport:
    """Log figures, inputs, manifest and issues of a dataset to a run.

    training: whose resolution sizes are compared with. Any share of unreadable files is reported,
    not refused. Raises ValueError for a dataset that cannot be opened.
    """
    name = f"data-{user_path(config.data).resolve().name}"
    with tracking.start_run(config, name, {"kind": "data"}) as run:
        dataset = open_dataset(replace(config, max_unreadable=1.0))
        for split in SPLITS:
            run.log_dataset(dataset, split)
        run.log_manifest(dataset)
        log_dataset_figures(run, dataset)
        gazetteer = open_gazetteer(dataset, config.places)
        issues = list(find_issues(dataset, gazetteer, config.max_unreadable))
        # The name that the table has in runs already logged.
        run.log_table(pd.DataFrame(issues, columns=DataIssue._fields), "findings")
        counts = Counter(issue.problem for issue in issues)
        run.log_metrics({f"data/{problem}": counts[problem] for problem in HEADLINES})
        photos = describe_photos(dataset, create_preprocessing(training).resolution)
        description = f"{photos}\n\n{describe_groups(dataset, config.grouping)}"
        run.describe(f"### {description}\n\n{summarise(issues)}")
        return DatasetReport(run.run_id, run.location, dataset, description, issues)


def summarise(issues: Sequence[DataIssue]) -> str:
    """Markdown list of the kinds found, each with its first few issues."""
    lines: list[str] = []
    for problem, (title, advice) in HEADLINES.items():
        if found := [issue for issue in issues if issue.problem == problem]:
            lines.append(f"- {title}: {len(found)} ({advice})")
            lines += [f"  - `{issue.subject}`: {issue.detail}" for issue in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  - … and {len(found) - _SHOWN} more")
    return "\n".join(lines or ["Nothing wrong found."]) + "\n"


def describe_photos(dataset: Dataset, side: int) -> str:
    """How many photos there are of each kind, and their sizes beside the square a network sees."""
    others = sum(len(dataset.distractors(split)) for split in SPLITS)
    sizes = np.array([(photo.width, photo.height) for photo in dataset.photos])
    width, height = np.median(sizes, axis=0)
    small = int((sizes.min(axis=1) < side).sum())
    return (
        f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.landmarks('train'))} train,"
        f" {len(dataset.landmarks('val'))} val, {len(dataset.landmarks('test'))} test photos,"
        f" {others} of no landmark\n\n"
        f"Median photo: {width:.0f} x {height:.0f} px; {counted(small, 'photo')} with a short side"
        f" under the {side} px that the network sees."
    )


def describe_groups(dataset: Dataset, grouping: str) -> str:
    """How many photos are near-duplicates or of one visit, and how to see what that changes.

    grouping: that of the dataset's configuration.
    """
    groups = {"Groups of near-duplicates": Counter(group_near_duplicates(dataset.photos).tolist())}
    if grouping == "visits":
        visits = Counter((photo.label, photo.visit) for photo in dataset.photos if photo.visit)
        groups["Visits (one landmark, one camera, one day)"] = visits
    told = []
    for what, group in groups.items():
        sizes = [size for size in group.values() if size > 1]
        told.append(f"{what}: {len(sizes)}, with {sum(sizes)} photos.")
    if grouping == "none":
        return f"{' '.join(told)} With grouping=none they may be in several splits."
    return (
        f"{' '.join(told)} Each stays in one split. Training with `grouping=none` shows what"
        " top-1 would be if it did not."
    )


def find_issues(
    dataset: Dataset, gazetteer: Gazetteer, max_unreadable: float
) -> Iterator[DataIssue]:
    """Look for unreadable, conflicting, leaked and repeated photos, and for weak classes.

    max_unreadable: share of unreadable files past which training refuses a dataset.
    """
    every = (*dataset.photos, *dataset.leaked, *dataset.conflicting)

    def shown(path: Path) -> str:
        return spelled(os.path.relpath(path, dataset.root))

    def label(photo: Photo) -> str:
        return label_name(photo.label, dataset.classes) or "no landmark"

    unreadable, total = len(dataset.unreadable), len(every) + len(dataset.unreadable)
    if unreadable > max_unreadable * total:
        share = f"{unreadable} of {total} files are unreadable"
        detail = f"{share}, more than max_unreadable {max_unreadable:g}"
        yield DataIssue("refused", dataset.name, detail)
    for file in dataset.unreadable:
        yield DataIssue("unreadable", shown(file.path), f"{file.code}: {file.reason}")
    for first, *others in _same_bytes(every):
        if len({photo.label for photo in (first, *others)}) > 1:
            also = ", ".join(f"{label(photo)} as {shown(photo.path)}" for photo in others)
            detail = f"labelled {label(first)}, and {also}"
            yield DataIssue("conflicting", shown(first.path), detail)
    for photo in dataset.leaked:
        detail = f"of {label(photo)}; the same or nearly the same is in a given split"
        yield DataIssue("leaked", shown(photo.path), detail)
    for first, *others in _same_bytes(dataset.photos):
        if len({photo.label for photo in (first, *others)}) == 1:
            copies = ", ".join(shown(photo.path) for photo in others)
            yield DataIssue("repeated", shown(first.path), f"the same file as {copies}")
    for name, count in dataset.class_counts("train").items():
        if count < FEW_PHOTOS:
            yield DataIssue("small", name, f"{count} training photos")
    for each in SPLITS[1:]:
        for name, count in dataset.class_counts(each).items():
            if not count:
                yield DataIssue("unmeasured", name, f"no {each} photos")
    for name in dataset.classes:
        if gazetteer.find(name) is None:
            yield DataIssue("place", name, "not in the gazetteer")


def _same_bytes(photos: Sequence[Photo]) -> list[list[Photo]]:
    by_content: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: photo.path):
        by_content[photo.sha256].append(photo)
    return [same for same in by_content.values() if len(same) > 1]
