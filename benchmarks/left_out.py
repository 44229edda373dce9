"""A dataset without some of its landmarks, made of links."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from landmark_ml.data.folders import list_distractors, list_folder

PLACES = "places.csv"


def leave_out(
    root: Path, left_out: Collection[str], folder: Path, *, everyday: bool = True
) -> Path:
    """Link all photos of `root`, those of no landmark beside it too, but those of some landmarks.

    left_out: names of classes, as `list_folder` gives them. everyday: False leaves out the photos
    of no landmark. Returns the dataset within folder.
    """
    classes, files = list_folder(root)
    kept = [file.path for file in files if classes[file.label] not in left_out]
    if everyday:
        kept += [file.path for file in list_distractors(root, None)]
    for path in [*kept, *root.glob(PLACES)]:
        link = folder / path.relative_to(root.parent)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder / root.name
