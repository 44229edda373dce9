"""The photos of a dataset, what each one shows, its split, and the manifest that records them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from landmark_ml.console import Bar, listed
from landmark_ml.files import whole_file, write_whole
from landmark_ml.inference.photos import read_at_most
from landmark_ml.inference.runtime import usable_cpus

NOT_A_LANDMARK = -1
"""Label of a distractor: a photo that shows none of the dataset's landmarks."""

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Photo:
    """One readable photo of a dataset; label is an index into `Dataset.classes`.

    width and height are those of the full-size upright photo, in pixels. fingerprint: what
    `near_duplicates` compares. visit: short hash of the camera and the day; empty when they are not
    known or photos are not grouped by them. position: (latitude, longitude) in degrees where its
    EXIF or its table tells.
    """

    path: Path
    label: int
    sha256: str
    width: int
    height: int
    fingerprint: bytes = field(default=b"", repr=False)
    visit: str = ""
    position: tuple[float, float] | None = None


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

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photos of all splits."""
        return (*self.train, *self.val, *self.test)

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


def visit_of(camera: str, taken: datetime) -> str:
    """Short hash of a camera and the day of a photo; empty where the clock was never set."""
    # A camera whose clock was never set starts at a first of January.
    if (taken.month, taken.day) == (1, 1):
        return ""
    # A visit may go on past midnight.
    return short_hash([f"{camera} {(taken - timedelta(hours=_DAY_STARTS)).date()}"])


def label_name(label: int, classes: Sequence[str]) -> str:
    """Class name of a label; empty for `NOT_A_LANDMARK`."""
    return "" if label == NOT_A_LANDMARK else classes[label]


_DAY_STARTS = 4
"""Hour at which the next visit starts, local time."""

MANIFEST, LARGE_MANIFEST = "split_manifest.json", "split_manifest.parquet"
"""Names of the manifest among the artifacts of a run, up to `MOST_JSON` photos and past them."""
MOST_JSON = 10_000

# Version 2 has no positions. Version 1 is older than 0.1.0 and is no longer read.
_SCHEMA_VERSION = 3
_RECORDED = (*SPLITS, "leaked", "conflicting")
_FACTS = b"dataset"
"""What a Parquet manifest's metadata calls all that is not a photo."""
# A path need not be UTF-8.
_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("sha256", "label", "split", "visit")]
    + [(name, pa.binary()) for name in ("path", "fingerprint")]
    + [(name, pa.int32()) for name in ("width", "height")]
    + [(name, pa.float64()) for name in ("latitude", "longitude")]
)


def split_digest(photos: Sequence[Photo], classes: Sequence[str]) -> str:
    """Short hash over (content, label) of some photos and the class order; order-free, path-free.

    Two evaluations with the same digest of their test photos were scored on the same questions.
    """
    rows = sorted(f"{photo.sha256}\t{label_name(photo.label, classes)}" for photo in photos)
    return short_hash([*classes, "", *rows])


def manifest_digest(dataset: Dataset) -> str:
    """Short hash over (content, label, split) of every assigned photo, and the class order."""
    return short_hash([split_digest(dataset.split(split), dataset.classes) for split in SPLITS])


def short_hash(rows: Sequence[str]) -> str:
    """Half of the sha256 of some lines, as 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(rows).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def write_manifest(dataset: Dataset, path: Path) -> None:
    """Write a dataset as Parquet or JSON, by the path's ending; the file is replaced whole.

    Paths are relative to the dataset's root, so the manifest stays valid when the root moves.
    """

    def relative(photo: Photo | UnreadablePhoto) -> str:
        return Path(os.path.relpath(photo.path, dataset.root)).as_posix()

    facts = {
        "schema_version": _SCHEMA_VERSION,
        "name": dataset.name,
        "digest": manifest_digest(dataset),
        "classes": dataset.classes,
        "unreadable": [
            {"path": relative(file), "code": file.code, "reason": file.reason}
            for file in dataset.unreadable
        ],
    }
    rows = [
        (
            photo.sha256,
            label_name(photo.label, dataset.classes),
            split,
            photo.visit,
            relative(photo),
            photo.fingerprint,
            photo.width,
            photo.height,
            *(photo.position or (None, None)),
        )
        for split in _RECORDED
        for photo in getattr(dataset, split)
    ]
    if path.suffix == ".parquet":
        values = dict(zip(_COLUMNS.names, zip(*rows, strict=True), strict=True))
        values["path"] = [os.fsencode(file) for file in values["path"]]
        table = pa.table(values, schema=_COLUMNS.with_metadata({_FACTS: json.dumps(facts)}))
        with whole_file(path) as scratch:
            pq.write_table(table, scratch, compression="zstd")
        return
    photos = [
        dict(zip(_COLUMNS.names, row, strict=True))
        | {"fingerprint": base64.b64encode(row[5]).decode()}
        for row in rows
    ]
    lines = ",\n".join(json.dumps(photo, ensure_ascii=False) for photo in photos)
    text = f'{json.dumps(facts, ensure_ascii=False)[:-1]}, "photos": [\n{lines}\n]}}\n'
    # A file name that is not UTF-8 holds lone surrogates; JSON reads them back from backslashes.
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def read_rows(content: bytes, name: str) -> tuple[dict[str, Any], pa.Table]:
    """What the content of a manifest, JSON or Parquet, says of the dataset and of each photo.

    The table has the columns of a Parquet manifest. Raises ValueError, with the name, for content
    that is no manifest.
    """
    try:
        if content.startswith(b"PAR1"):
            table = pq.read_table(pa.BufferReader(content))
            return json.loads(table.schema.metadata[_FACTS]), table
        facts = json.loads(content)
        if facts["schema_version"] not in (2, _SCHEMA_VERSION):
            raise ValueError(f"schema version {facts['schema_version']}")
        photos = facts.pop("photos")
        for row in photos:
            _ = row["sha256"], row["split"]  # a row without them is damage, not a default
            row["fingerprint"] = base64.b64decode(row["fingerprint"])
            row["path"] = os.fsencode(row["path"])
        return facts, pa.Table.from_pylist(photos, schema=_COLUMNS)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{name} is not a manifest ({error!r})") from error


def rebuild_dataset(content: bytes, root: Path) -> Dataset:
    """The dataset that a manifest's content records; its photos need not be there."""
    return _rebuild(*read_rows(content, MANIFEST), root)


def read_manifest(
    source: Path | bytes, root: Path, *, verify: bool = False, threads: int = 0
) -> Dataset:
    """Rebuild the dataset a manifest, a file or its content, records, with its photos under root.

    verify: also hash every photo again, on all cores or `threads`. Raises ValueError when that is
    no sound manifest, or a photo is missing or (with verify) has other content.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    name = MANIFEST if isinstance(source, bytes) else str(source)
    facts, rows = read_rows(content, name)
    try:
        dataset = _rebuild(facts, rows, root.resolve())
        digest = facts["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a manifest of schema version {_SCHEMA_VERSION} ({error!r}):"
            " open the dataset again to write a new one"
        ) from error
    if manifest_digest(dataset) != digest:
        raise ValueError(f"{name} was changed after it was written: restore it or write a new one")
    photos = [photo for split in _RECORDED for photo in getattr(dataset, split)]
    missing = [photo for photo in photos if not photo.path.is_file()]
    _refuse(missing, f"recorded in {name} are missing")
    if verify:

        def hashed(photo: Photo) -> str:
            return hashlib.sha256(read_at_most(photo.path)).hexdigest()

        with ThreadPoolExecutor(threads or usable_cpus()) as pool:
            read = pool.map(hashed, photos)
            checked = Bar(read, total=len(photos), desc="checking photos", unit=" photos")
            pairs = zip(photos, checked, strict=True)
            changed = [photo for photo, sha256 in pairs if sha256 != photo.sha256]
        _refuse(changed, f"have other content than {name} records")
    return dataset


def _rebuild(facts: dict[str, Any], rows: pa.Table, root: Path) -> Dataset:
    def absolute(path: str) -> Path:
        return Path(os.path.normpath(root / path))

    classes = tuple(facts["classes"])
    labels = {name: label for label, name in enumerate(classes)} | {"": NOT_A_LANDMARK}
    photos: dict[str, list[Photo]] = {split: [] for split in _RECORDED}
    for sha256, label, split, visit, path, prints, width, height, *position in zip(
        *(rows[name].to_pylist() for name in _COLUMNS.names), strict=True
    ):
        place = None if position[0] is None else (position[0], position[1])
        where, known = absolute(os.fsdecode(path)), (prints, visit, place)
        photos[split].append(Photo(where, labels[label], sha256, width, height, *known))
    unreadable = tuple(
        UnreadablePhoto(absolute(row["path"]), row["code"], row["reason"])
        for row in facts["unreadable"]
    )
    splits = {split: tuple(rows) for split, rows in photos.items()}
    return Dataset(facts["name"], root, classes, unreadable=unreadable, **splits)


def _refuse(photos: Sequence[Photo], what: str) -> None:
    if photos:
        names = listed([photo.path for photo in photos], most=5)
        raise ValueError(
            f"{len(photos)} photos {what}: {names}; bring them"
            " back, give the right root, or open the dataset again to write a new manifest"
        )
