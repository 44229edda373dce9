"""A dataset without some of its landmarks, made of links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landmark_ml.datasets.folders import NOT_LANDMARKS, class_name, walk_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SIDES = ("train", "test", "val", "valid", "validation")


def class_folders(root: Path) -> list[str]:
    """Names of the folders of landmarks, as training finds them."""
    base = root / "train" if (root / "train").is_dir() else root
    return sorted(path.name for path in base.iterdir() if path.is_dir() and _is_landmark(path.name))


def leave_out(root: Path, left_out: Sequence[str], folder: Path) -> Path:
    """A dataset of links to all of `root` but some landmarks; photos beside it come along."""
    data = folder / root.name
    hidden = {class_name(name) for name in left_out}
    sides = [name for name in _SIDES if (root / name).is_dir()]
    for side in sides or [""]:
        (data / side).mkdir(parents=True)
        for path in (root / side).iterdir():
            if class_name(path.name) not in hidden:
                (data / side / path.name).symlink_to(path.resolve())
    for path in root.iterdir() if sides else []:
        if path.name not in sides:
            (data / path.name).symlink_to(path.resolve())
    beside = root.parent / NOT_LANDMARKS
    if beside.is_dir():
        (folder / NOT_LANDMARKS).symlink_to(beside.resolve())
    return data


def photos_of(root: Path, left_out: Sequence[str]) -> list[Path]:
    """Every photo of some landmarks, whatever side it stands on."""
    hidden = {class_name(name) for name in left_out}
    sides = [root / name for name in _SIDES if (root / name).is_dir()] or [root]
    folders = [p for side in sides for p in sorted(side.iterdir()) if class_name(p.name) in hidden]
    return [photo for folder in folders for photo in walk_files(folder)]


def _is_landmark(name: str) -> bool:
    return not name.startswith(".") and name != NOT_LANDMARKS
