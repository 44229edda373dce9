"""Which files of a folder a dataset looks at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from landmark_ml.files import is_of_the_system

if TYPE_CHECKING:
    from collections.abc import Iterator

# What cameras, phones and programs that tag photos lay beside them: no photo, and no damaged one.
_SIDECARS = frozenset({".aae", ".csv", ".html", ".json", ".md", ".txt", ".xml", ".xmp"})
_VIDEOS = frozenset({".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield files of a folder and its sub-folders in name order, each real folder once.

    Raises ValueError for a folder that cannot be read.
    """
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_of_the_system(name))
        yield from (Path(parent, name) for name in sorted(names) if not is_of_the_system(name))


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(
        f"folder {error.filename} cannot be read ({error.strerror}), and its photos would be"
        " missing without a word; make it readable, or move it out of the dataset"
    ) from error


def is_no_photo(file: Path) -> bool:
    """Whether its name says that a file is something else than a photo, such as a sidecar."""
    return file.suffix.casefold() in _SIDECARS | _VIDEOS
