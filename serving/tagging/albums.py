"""A plan of folders by country, city and landmark: a list, or links. No photo is ever moved."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from landmark_ml.files import whole_file
from serving.tagging.album_links import cut, link_name, remove_links
from serving.tagging.sureness import is_placed, is_sure
from serving.tagging.table import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.journal import Tagged

ALBUMS_CSV, ALBUMS = "albums.csv", "albums"


class Album(NamedTuple):
    """Where photos belong together, as finely as is known; at least one of the three is."""

    country: str | None
    city: str | None
    landmark: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """What is known of the three, the widest first."""
        return tuple(name for name in self if name)

    @property
    def folder(self) -> Path:
        """`France/Paris/Eiffel Tower`, in names that every file system takes."""
        return Path(*map(_safe, self.names))


def album_of(answer: Prediction, min_confidence: float) -> Album | None:
    """Album of an answer, as far as it is known; None when nothing is."""
    known = is_placed(answer, min_confidence)
    album = Album(
        country=answer["country"] if known else None,
        city=answer["city"] if known else None,
        landmark=answer["landmark"] if is_sure(answer, min_confidence) else None,
    )
    return album if album.names else None


def write_albums(
    answers: Iterable[Tagged], root: Path, out: Path, *, min_confidence: float, links: bool
) -> int:
    """List each photo's album in `albums.csv`, link them under `albums/`; photos in an album.

    The links are made anew each time, so that `albums/` shows what the table says. Raises
    ValueError when something else than these links stands there.
    """
    folder, count = out / ALBUMS, 0
    if links:
        remove_links(folder)
    with whole_file(out / ALBUMS_CSV) as path, path.open("w", encoding="utf-8", newline="") as file:
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


def _safe(name: str) -> str:
    """A name that is one visible folder on any file system."""
    kept = "".join("-" if letter in '/\\:*?"<>|\0' else letter for letter in name)
    return cut(kept.strip(". ")).strip(". ") or "-"
