"""Albums by country, city and landmark, as a list or as links. No photo is ever moved."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from landmark_ml.files import is_of_the_system
from serving.tagging.library import PHOTO_SUFFIXES
from serving.tagging.table import file_of_out, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.library import Tagged

ALBUMS_CSV, ALBUMS = "albums.csv", "albums"
MAX_NAME_BYTES = 120
"""File systems take 255 bytes or fewer, and a link's name gets a suffix."""

_LINK_STEM = re.compile(r".*-[0-9a-f]{8}", re.DOTALL)


def is_confident(answer: Prediction, min_confidence: float) -> bool:
    """Whether sidecars, albums and gallery may say what the photo shows."""
    return bool(answer["is_landmark"]) and (answer["confidence"] or 0.0) >= min_confidence


def has_place(answer: Prediction, min_confidence: float) -> bool:
    """Whether they may name city and country: by the answer, or by the photo's own position."""
    return is_confident(answer, min_confidence) or answer["location_source"] == "exif"


class Album(NamedTuple):
    """Country, city and landmark as far as they are known; at least one is."""

    country: str | None
    city: str | None
    landmark: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The known names, country first."""
        return tuple(name for name in self if name)

    @property
    def folder(self) -> Path:
        """`France/Paris/Eiffel Tower`, in names that every file system takes."""
        return Path(*map(_folder_name, self.names))


def album_of(answer: Prediction, min_confidence: float) -> Album | None:
    """Album of an answer; None when it belongs to none."""
    placed = has_place(answer, min_confidence)
    album = Album(
        country=answer["country"] if placed else None,
        city=answer["city"] if placed else None,
        landmark=answer["landmark"] if is_confident(answer, min_confidence) else None,
    )
    return album if album.names else None


def write_albums(
    answers: Iterable[Tagged], root: Path, out: Path, *, min_confidence: float, links: bool
) -> int:
    """Write `albums.csv` and, if wanted, links under `albums/`; return the photos in albums.

    Links are made anew each time. Raises ValueError when `albums/` holds anything else.
    """
    folder, count = out / ALBUMS, 0
    if links:
        remove_links(folder)
    with (
        file_of_out(out / ALBUMS_CSV) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(["path", "album"])
        for photo in answers:
            album = album_of(photo.answer, min_confidence)
            if album is None:
                continue
            count += 1
            lines.writerow([printable(photo.path), album.folder.as_posix()])
            if links:
                link = folder / album.folder / link_name(photo.path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((root / photo.path).resolve())
    return count


def refuse_foreign_files(folder: Path) -> None:
    """Raise ValueError when a folder of links holds anything but our links and hidden files."""
    found = [] if folder.is_dir() or not folder.exists() else [folder]
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_the_system(name)]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        names = [*links, *(name for name in files if not is_of_the_system(name))]
        found += [path for path in (Path(parent, name) for name in names) if not _is_ours(path)]
    if found:
        raise ValueError(
            f"{found[0]} is no link that the tagger made, and {folder} may hold nothing else;"
            " move it elsewhere or give another out"
        )


def remove_links(folder: Path) -> None:
    """Remove our links from a folder, and the subfolders that are then empty.

    Raises ValueError and removes nothing when something else is there.
    """
    refuse_foreign_files(folder)
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if _is_ours(path):
                path.unlink()
        if Path(parent) != folder:
            # A folder with a hidden file in it stays.
            with contextlib.suppress(OSError):
                Path(parent).rmdir()


def link_name(path: Path) -> str:
    """Name of a photo's link, unique in the library."""
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{_cut(path.stem)}-{digest}{path.suffix}"


def _is_ours(path: Path) -> bool:
    named = path.suffix.lower() in PHOTO_SUFFIXES and _LINK_STEM.fullmatch(path.stem)
    return bool(named) and path.is_symlink()


def _folder_name(name: str) -> str:
    kept = "".join("-" if letter in '/\\:*?"<>|\0' else letter for letter in name)
    return _cut(kept.strip(". ")).strip(". ") or "-"


def _cut(name: str) -> str:
    """Shorten a name to what file systems take, without splitting a letter."""
    content = os.fsencode(name)
    if len(content) <= MAX_NAME_BYTES:
        # As it is: it may hold bytes that are not UTF-8.
        return name
    return content[:MAX_NAME_BYTES].decode(errors="ignore")
