"""The manifest: one file that records the photos of a dataset and the side that each is on."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from landmark_ml.data.content_hash import file_sha256
from landmark_ml.data.dataset import NOT_A_LANDMARK, Dataset, Photo, UnreadablePhoto, label_name
from landmark_ml.files import write_whole
from landmark_ml.inference.runtime import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST = "split_manifest.json"
"""Name of the manifest among the artifacts of a run."""

_SCHEMA_VERSION = 1
_SPLITS = ("train", "val", "test", "leaked", "conflicting")


def split_digest(photos: Sequence[Photo], classes: Sequence[str]) -> str:
    """Short hash over (content, label) of some photos and the class order; order-free, path-free.

    Two evaluations with the same digest of their test photos were scored on the same questions.
    """
    rows = sorted(f"{photo.sha256}\t{label_name(photo.label, classes)}" for photo in photos)
    return _digest([*classes, "", *rows])


def manifest_digest(dataset: Dataset) -> str:
    """Short hash over (content, label, side) of every photo on a side, and the class order."""
    sides = (dataset.train, dataset.val, dataset.test)
    return _digest([split_digest(photos, dataset.classes) for photos in sides])


def write_manifest(dataset: Dataset, path: Path) -> None:
    """Write a dataset as one JSON file, one photo a line; the file is replaced whole.

    Paths are relative to the dataset's root, so the manifest stays good when the root moves.
    """
    head = {
        "schema_version": _SCHEMA_VERSION,
        "name": dataset.name,
        "digest": manifest_digest(dataset),
        "classes": list(dataset.classes),
    }
    photos = [
        _photo_row(photo, split, dataset) for split in _SPLITS for photo in getattr(dataset, split)
    ]
    unreadable = [
        {"path": _relative(file.path, dataset.root), "code": file.code, "reason": file.reason}
        for file in dataset.unreadable
    ]
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines += [_json_list("photos", photos), _json_list("unreadable", unreadable)]
    # A file name that is no UTF-8 holds lone surrogates; backslashed they are what JSON reads back.
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def read_manifest(path: Path, root: Path, *, verify: bool = False, threads: int = 0) -> Dataset:
    """Rebuild the dataset a manifest records, with its photos under root.

    verify: also hash every photo again, on all cores or `threads`. Raises ValueError when the file
    is no sound manifest, or a photo is missing or (with verify) has other content than recorded.
    """
    return parse_manifest(path.read_bytes(), root, name=str(path), verify=verify, threads=threads)


def parse_manifest(
    content: bytes, root: Path, *, name: str, verify: bool = False, threads: int = 0
) -> Dataset:
    """The same of a manifest's content; name: what errors call it."""
    root = root.resolve()
    try:
        dataset, digest = _parse(content.decode(), root)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a manifest of schema version {_SCHEMA_VERSION} ({error!r}):"
            " open the dataset again to write a new one"
        ) from error
    if manifest_digest(dataset) != digest:
        raise ValueError(f"{name} was changed after it was written: restore it or write a new one")
    _check_present(dataset, name)
    if verify:
        _check_contents(dataset, name, threads)
    return dataset


def _parse(text: str, root: Path) -> tuple[Dataset, str]:
    content = json.loads(text)
    if content["schema_version"] != _SCHEMA_VERSION:
        raise ValueError(f"schema version {content['schema_version']}")
    classes = tuple(content["classes"])
    labels = {name: label for label, name in enumerate(classes)} | {"": NOT_A_LANDMARK}
    photos: dict[str, list[Photo]] = {split: [] for split in _SPLITS}
    for row in content["photos"]:
        photos[row["split"]].append(_photo(row, labels, root))
    unreadable = tuple(
        UnreadablePhoto(_absolute(row["path"], root), row["code"], row["reason"])
        for row in content["unreadable"]
    )
    sides = {split: tuple(rows) for split, rows in photos.items()}
    dataset = Dataset(content["name"], root, classes, unreadable=unreadable, **sides)
    return dataset, content["digest"]


def _photo(row: dict[str, Any], labels: dict[str, int], root: Path) -> Photo:
    path = _absolute(row["path"], root)
    return Photo(path, labels[row["label"]], row["sha256"], row["width"], row["height"])


def _photo_row(photo: Photo, split: str, dataset: Dataset) -> dict[str, Any]:
    return {
        "sha256": photo.sha256,
        "label": label_name(photo.label, dataset.classes),
        "split": split,
        "path": _relative(photo.path, dataset.root),
        "width": photo.width,
        "height": photo.height,
    }


def _check_present(dataset: Dataset, name: str) -> None:
    missing = [photo.path for photo in _photos(dataset) if not photo.path.is_file()]
    if missing:
        raise ValueError(_name_files(missing, f"recorded in {name} are missing"))


def _check_contents(dataset: Dataset, name: str, threads: int) -> None:
    photos = _photos(dataset)
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        hashes = pool.map(file_sha256, (photo.path for photo in photos))
        found = list(tqdm(hashes, total=len(photos), desc="checking photos", unit="photo"))
    changed = [
        photo.path for photo, sha256 in zip(photos, found, strict=True) if photo.sha256 != sha256
    ]
    if changed:
        raise ValueError(_name_files(changed, f"have other content than {name} records"))


def _photos(dataset: Dataset) -> list[Photo]:
    return [photo for split in _SPLITS for photo in getattr(dataset, split)]


def _name_files(files: Sequence[Path], what: str) -> str:
    names = ", ".join(str(file) for file in files[:5])
    more = ", …" if len(files) > 5 else ""
    return (
        f"{len(files)} photos {what}: {names}{more}; bring them back, give the right root, or open"
        " the dataset again to write a new manifest"
    )


def _json_list(key: str, rows: Sequence[dict[str, Any]]) -> str:
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"{json.dumps(key)}: [\n{body}\n]"


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _absolute(path: str, root: Path) -> Path:
    return Path(os.path.normpath(root / path))


def _digest(rows: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode("utf-8", "backslashreplace")).hexdigest()[:16]
