"""Where the photos of a dataset folder lie: class folders, given sides, photos of no landmark."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.data.dataset import NOT_A_LANDMARK, Side
from landmark_ml.data.walking import is_no_photo, walk_files
from landmark_ml.files import is_of_the_system
from landmark_ml.geo.gazetteer import OWN_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

NOT_LANDMARKS = "not_landmarks"
_VAL_NAMES = ("val", "valid", "validation")
_KNOWN_SIDES = frozenset({"train", "test", *_VAL_NAMES})
_LIKE_SIDES = _KNOWN_SIDES | {"training", "testing"}
_NUMBER = re.compile(r"^\d+\.\s*(?=\S)")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file found in a class folder; side is None where the split is still to be made."""

    path: Path
    label: int
    side: Side | None


@dataclass(frozen=True, slots=True)
class FolderListing:
    """Classes in label order and every file under them."""

    classes: tuple[str, ...]
    files: tuple[ListedFile, ...]


def class_name(folder: str) -> str:
    """Label of a class folder: `16.Eiffel_Tower` becomes `Eiffel Tower`."""
    text = _NUMBER.sub("", unicodedata.normalize("NFC", folder))
    return text.replace("_", " ").strip() or folder


def list_folder(root: Path, not_landmarks: Path | None = None) -> FolderListing:
    """List a dataset folder: `train/<class>/…` with optional test and val, or `<class>/…` alone.

    Photos of no landmark come from `not_landmarks` when given, else from `not_landmarks/` inside
    root or beside it. Raises ValueError for a layout that no dataset can be made of.
    """
    _reject_misspelt_sides(root)
    train_root = root / "train" if (root / "train").is_dir() else root
    train = _class_folders(train_root)
    if train_root == root:
        _reject_sides_without_train(root, train)
    else:
        _reject_inner_distractors(root)
    if len(train) < 2:
        raise ValueError(_too_few_classes(train_root, train))
    classes = tuple(train)
    files: list[ListedFile] = []
    for label, folder in enumerate(train.values()):
        files += _list_class(folder, label, None)
    if train_root != root:
        files += _list_given_sides(root, classes)
    files += _list_distractors(root, not_landmarks)
    return FolderListing(classes, tuple(files))


def _list_given_sides(root: Path, classes: tuple[str, ...]) -> list[ListedFile]:
    names = [name for name in _VAL_NAMES if (root / name).is_dir()]
    if len(names) > 1:
        raise ValueError(f"{root} holds {' and '.join(names)}: keep one validation folder")
    given: list[tuple[Side, Path]] = [("val", root / name) for name in names]
    if (root / "test").is_dir():
        given.append(("test", root / "test"))
    return [file for side, folder in given for file in _list_side(folder, side, classes)]


def _list_side(folder: Path, side: Side, classes: tuple[str, ...]) -> Iterator[ListedFile]:
    found = _class_folders(folder)
    if not found:
        raise ValueError(
            f"{folder} holds no class folders: fill it, or remove it to have one split"
        )
    unknown = [name for name in found if name not in classes]
    if unknown:
        raise ValueError(
            f"{folder} holds classes that train lacks: {', '.join(unknown[:5])}"
            f" ({len(unknown)} in all); add them to train or remove them"
        )
    for name, class_folder in found.items():
        yield from _list_class(class_folder, classes.index(name), side)


def _list_distractors(root: Path, given: Path | None) -> list[ListedFile]:
    candidates = [given] if given else [root / NOT_LANDMARKS, root.parent / NOT_LANDMARKS]
    folder = next((place for place in candidates if place.is_dir()), None)
    if folder is None:
        if given:
            raise ValueError(f"{given} is not a folder of photos that show no landmark")
        logger.info("no %s folder inside or beside %s", NOT_LANDMARKS, root)
        return []
    logger.info("photos of no landmark are taken from %s", folder)
    return _list_class(folder, NOT_A_LANDMARK, None)


def _list_class(folder: Path, label: int, side: Side | None) -> list[ListedFile]:
    found = list(walk_files(folder))
    files = [ListedFile(path, label, side) for path in found if not is_no_photo(path)]
    if len(files) < len(found):
        logger.info("%d files of %s are no photos and left out", len(found) - len(files), folder)
    if not files:
        raise ValueError(f"{folder} holds no photos: add some, or remove the folder")
    return files


def _class_folders(folder: Path) -> dict[str, Path]:
    """Map the class names of a folder to their folders, in folder name order."""
    found: dict[str, Path] = {}
    loose = []
    for path in sorted(folder.iterdir(), key=lambda path: unicodedata.normalize("NFC", path.name)):
        if is_of_the_system(path.name) or path.name == NOT_LANDMARKS:
            continue
        if not path.is_dir():
            loose += [path.name] if path.name != OWN_PLACES else []
            continue
        _check_encoding(path)
        name = class_name(path.name)
        if name in found:
            raise ValueError(f"{found[name]} and {path} both mean {name!r}: merge or rename one")
        found[name] = path
    if loose:
        logger.warning(
            "%d files of %s lie outside its class folders and are not used: %s",
            len(loose),
            folder,
            ", ".join(loose[:3]),
        )
    return found


def _check_encoding(folder: Path) -> None:
    """Refuse a class whose name no table, figure or answer could spell."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"class folder {folder.name!r} of {str(folder.parent)!r} has a name that is not UTF-8;"
            " rename it, or all at once with convmv -f latin1 -t utf8"
        ) from None


def _reject_sides_without_train(root: Path, folders: dict[str, Path]) -> None:
    sides = [name for name in ("test", *_VAL_NAMES) if name in folders]
    if sides:
        raise ValueError(f"{root} holds {' and '.join(sides)} but no train: add {root / 'train'}")


def _reject_misspelt_sides(root: Path) -> None:
    """Refuse `Train` or `testing`, which would be learned as landmarks or not be looked at."""
    for path in sorted(root.iterdir()):
        plain = path.name.casefold()
        # Where case makes no difference, `Train` is `train`.
        is_known = plain in _KNOWN_SIDES and (root / plain).is_dir()
        if plain in _LIKE_SIDES and not is_known and path.is_dir():
            raise ValueError(
                f"{path} looks like a side of a dataset and not like a landmark: rename it to"
                " train, test or val"
            )


def _reject_inner_distractors(root: Path) -> None:
    for side in ("train", "test", *_VAL_NAMES):
        if (root / side / NOT_LANDMARKS).is_dir():
            raise ValueError(
                f"{root / side / NOT_LANDMARKS} is no class: move it to {root / NOT_LANDMARKS},"
                " from where its photos are dealt to all sides"
            )


def _too_few_classes(folder: Path, found: dict[str, Path]) -> str:
    message = (
        f"{folder} holds {len(found)} class folders and at least 2 are needed;"
        " expected train/<class>/photo.jpg or <class>/photo.jpg"
    )
    nested = next((path for path in found.values() if (path / "train").is_dir()), None)
    return f"{message}. {nested} looks like a dataset: give that folder" if nested else message
