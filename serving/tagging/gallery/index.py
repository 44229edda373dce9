"""Photos by album: rows on the disk, and the tree of albums with counts and covers in memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from serving.database import ScratchDatabase
from serving.tagging.albums import Album
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landmark_ml.inference.prediction import Prediction

_TABLES = """
CREATE TABLE photos (
    section INTEGER NOT NULL, path BLOB NOT NULL, thumbnail TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (section, path)
) WITHOUT ROWID;
CREATE INDEX by_thumbnail ON photos (thumbnail);
"""


class Unfiled(Enum):
    """Photos that belong to no album: of no known place, or without an answer."""

    UNPLACED = "unplaced"
    REFUSED = "refused"


class Shown(NamedTuple):
    """An answered photo and the name of its thumbnail, if it has one."""

    photo: Tagged
    thumbnail: str | None


@dataclass
class Entry:
    """An album: its own photos, all photos with those of inner albums, its cover's thumbnail."""

    album: Album
    own: int = 0
    photos: int = 0
    cover: str | None = None
    within: list[Entry] = field(default_factory=list)
    _cover_confidence: float = -1.0

    def all_within(self) -> list[Entry]:
        """Itself and all inner albums that hold photos of their own, by name."""
        below = [found for entry in sorted(self.within) for found in entry.all_within()]
        return [self, *below] if self.own else below

    def __lt__(self, other: Entry) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[str, tuple[str, ...]]:
        return self.album.names[-1].casefold(), self.album.names


class PhotoIndex(ScratchDatabase):
    """Photos by album, as they are added; memory grows with the albums, not with the photos.

    An album within a city makes the city's album, and that the country's. `unfiled` counts photos
    without an album. The file is removed at the end.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)
        self.unfiled: dict[Unfiled, int] = {}
        self._sections: dict[Album | Unfiled, int] = {}
        self._entries: dict[Album, Entry] = {}
        self._db.execute("BEGIN")

    def add(self, section: Album | Unfiled, photo: Tagged, thumbnail: str | None) -> None:
        """Add a photo; the one with the highest confidence is the cover, the first of equals."""
        number = self._sections.setdefault(section, len(self._sections))
        answer = json.dumps(photo.answer, ensure_ascii=False)
        row = (number, os.fsencode(photo.path), thumbnail, answer)
        self._db.execute("INSERT INTO photos VALUES (?, ?, ?, ?)", row)
        if isinstance(section, Unfiled):
            self.unfiled[section] = self.unfiled.get(section, 0) + 1
            return
        self._entry(section).own += 1
        is_landmark, confidence = photo.answer["is_landmark"], photo.answer["confidence"]
        confidence = (confidence or 0.0) if is_landmark else 0.0
        for entry in map(self._entry, (section, *around(section))):
            entry.photos += 1
            if thumbnail is not None and confidence > entry._cover_confidence:
                entry.cover, entry._cover_confidence = thumbnail, confidence

    def photos(self, section: Album | Unfiled) -> Iterator[Shown]:
        """Photos of a section in order of path."""
        query = "SELECT path, thumbnail, answer FROM photos WHERE section = ? ORDER BY path"
        for path, thumbnail, answer in self._db.execute(query, [self._sections.get(section)]):
            photo = Tagged(Path(os.fsdecode(path)), cast("Prediction", json.loads(answer)))
            yield Shown(photo, thumbnail)

    def uses(self, thumbnail: str) -> bool:
        """Whether a photo has this thumbnail."""
        query = "SELECT EXISTS (SELECT 1 FROM photos WHERE thumbnail = ?)"
        return bool(self._db.execute(query, [thumbnail]).fetchone()[0])

    def top(self) -> list[Entry]:
        """Albums that are in no other, by name: countries, and what has no country."""
        return sorted(entry for entry in self._entries.values() if not around(entry.album))

    def entries(self) -> list[Entry]:
        """All albums."""
        return list(self._entries.values())

    def _entry(self, album: Album) -> Entry:
        if album not in self._entries:
            self._entries[album] = Entry(album)
            for outer in around(album)[:1]:
                self._entry(outer).within.append(self._entries[album])
        return self._entries[album]


def around(album: Album) -> list[Album]:
    """The albums around one, the nearest first: its city, its country."""
    wider = [Album(album.country, album.city, None), Album(album.country, None, None)]
    return [outer for outer in dict.fromkeys(wider) if outer != album and outer.names]
