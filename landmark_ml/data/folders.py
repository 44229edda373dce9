"""Where the photos of a dataset folder lie: class folders, given splits, distractors."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from landmark_ml.console import counted, listed
from landmark_ml.data.dataset import NOT_A_LANDMARK, SPLITS, Split
from landmark_ml.files import is_of_the_system
from landmark_ml.geo.gazetteer import OWN_PLACES

logger = logging.getLogger(__name__)

DISTRACTORS = "not_landmarks"
SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_LIKE_SPLITS = frozenset({*SPLIT_OF, "training", "testing"})
_NUMBER = re.compile(r"^\d+\.\s*(?=\S)")
# Videos, and what cameras, phones and tagging programs lay beside photos.
_VIDEOS = frozenset({".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_SIDECARS = frozenset({".aae", ".csv", ".html", ".json", ".md", ".txt", ".xml", ".xmp"})


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a class folder or table.

    given: the split its folder or row says, None to assign one later. position, visit: as those of
    `Photo`, where a table tells them. address: of what path is a copy, in an object store.
    """

    path: Path
    label: int
    given: Split | None
    position: tuple[float, float] | None = None
    visit: str = ""
    address: str = ""


Listing = tuple[tuple[str, ...], list[ListedFile]]
"""Classes in label order, and the files of the dataset."""


def class_name(folder: str) -> str:
    """Label of a class folder: `16.Eiffel_Tower` becomes `Eiffel Tower`."""
    text = _NUMBER.sub("", unicodedata.normalize("NFC", folder))
    return text.replace("_", " ").strip() or folder


def list_folder(root: Path) -> Listing:
    """List a dataset folder: `train/<class>/…` with optional test and val, or `<class>/…` alone.

    Returns the classes in label order and every file under them. Raises ValueError for a layout
    that no dataset can be made of.
    """
    given = _given_splits(root)
    train_root = given.get("train", root)
    train = _class_folders(train_root)
    if len(train) < 2:
        nested = next((path for path in train.values() if (path / "train").is_dir()), None)
        hint = f". {nested} looks like a dataset: give that folder" if nested else ""
        raise ValueError(
            f"{train_root} holds {len(train)} class folders and at least 2 are needed;"
            f" expected train/<class>/photo.jpg or <class>/photo.jpg{hint}"
        )
    labels = {name: label for label, name in enumerate(train)}
    files: list[ListedFile] = []
    for label, folder in enumerate(train.values()):
        files += _list_class(folder, label, None)
    for split in SPLITS[1:]:
        if split not in given:
            continue
        found = _class_folders(given[split])
        if not found:
            raise ValueError(f"{given[split]} holds no class folders: fill it or remove it")
        unknown = [name for name in found if name not in labels]
        if unknown:
            raise ValueError(
                f"{given[split]} holds classes that train lacks: {', '.join(unknown[:5])}"
                f" ({len(unknown)} in all); add them to train or remove them"
            )
        for name, folder in found.items():
            files += _list_class(folder, labels[name], split)
    return tuple(train), files


def list_taught(root: Path, name: str = "") -> tuple[list[str], list[ListedFile]]:
    """Names of new landmarks and the files of each: of class folders, or a name for all in root.

    Raises ValueError for a root that is no folder or holds no photos where they are looked for.
    """
    if not root.is_dir():
        raise ValueError(f"photos {root} is not a folder; give one that exists")
    folders = {name: root} if name else _class_folders(root)
    if not folders:
        raise ValueError(
            f"{root} holds no folders named after landmarks; add some, or give the name of the"
            " landmark that all its photos show"
        )
    listed_files = [_list_class(path, label, None) for label, path in enumerate(folders.values())]
    return list(folders), [file for files in listed_files for file in files]


def _given_splits(root: Path) -> dict[Split, Path]:
    """The train, val and test folders of root; refuses names that are nearly those."""
    given: dict[Split, Path] = {}
    for path in sorted(path for path in root.iterdir() if path.is_dir()):
        plain = path.name.casefold()
        if plain not in _LIKE_SPLITS:
            continue
        # Where the file system ignores case, `Train` is `train`.
        if plain not in SPLIT_OF or not (root / plain).is_dir():
            raise ValueError(
                f"{path} looks like a split and not like a landmark: rename it to train, test or"
                " val"
            )
        if (path / DISTRACTORS).is_dir():
            raise ValueError(
                f"{path / DISTRACTORS} is not a class: move it to {root / DISTRACTORS}, from"
                " where its photos are assigned to all splits"
            )
        other = given.setdefault(SPLIT_OF[plain], path)
        if other != path:
            raise ValueError(f"{root} holds {other.name} and {path.name}: keep one of them")
    if given and "train" not in given:
        names = " and ".join(path.name for path in given.values())
        raise ValueError(f"{root} holds {names} but no train: add {root / 'train'}")
    return given


def list_distractors(root: Path, given: Path | None) -> list[ListedFile]:
    """List the photos of no landmark: those of `given`, else of `not_landmarks/` in or beside root.

    Raises ValueError for a given folder that is not there.
    """
    candidates = [given] if given else [root / DISTRACTORS, root.parent / DISTRACTORS]
    folder = next((place for place in candidates if place.is_dir()), None)
    if folder:
        logger.info("photos without a landmark are taken from %s", folder)
        return _list_class(folder, NOT_A_LANDMARK, None)
    if given:
        raise ValueError(f"not_landmarks {given} is not a folder: give one that exists")
    logger.info("no %s folder inside or beside %s", DISTRACTORS, root)
    return []


def _class_folders(folder: Path) -> dict[str, Path]:
    """Map the class names of a folder to their folders, in folder name order."""
    found: dict[str, Path] = {}
    spelled: dict[str, Path] = {}
    loose = []
    for path in sorted(folder.iterdir(), key=lambda path: unicodedata.normalize("NFC", path.name)):
        if is_of_the_system(path.name) or path.name in (DISTRACTORS, OWN_PLACES):
            continue
        if not path.is_dir():
            loose.append(path.name)
            continue
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"class folder {path.name!r} of {str(folder)!r} has a name that is not UTF-8;"
                " rename it, or all at once with convmv -f latin1 -t utf8"
            ) from None
        name = class_name(path.name)
        # Upper and lower case mean the same to the gazetteer, and to the folders of many systems.
        if (same := spelled.setdefault(name.casefold(), path)) != path:
            raise ValueError(f"{same} and {path} both mean {name!r}: merge or rename one")
        found[name] = path
    if loose:
        message = "%s of %s outside its class folders, not used: %s"
        logger.warning(message, counted(len(loose), "file"), folder, listed(loose))
    return found


def _list_class(folder: Path, label: int, given: Split | None) -> list[ListedFile]:
    found = list(_walk(folder))
    photos = [path for path in found if path.suffix.casefold() not in _SIDECARS | _VIDEOS]
    if len(photos) < len(found):
        logger.info(
            "%s of %s no photos: left out", counted(len(found) - len(photos), "file"), folder
        )
    if not photos:
        raise ValueError(f"{folder} holds no photos: add some, or remove the folder")
    return [ListedFile(path, label, given) for path in photos]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its sub-folders in name order, each real folder once."""

    def refuse(error: OSError) -> NoReturn:
        raise ValueError(
            f"folder {error.filename} cannot be read ({error.strerror}), so its photos would be"
            " missing; make it readable, or move it out of the dataset"
        ) from error

    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_of_the_system(name))
        yield from (Path(parent, name) for name in sorted(names) if not is_of_the_system(name))
