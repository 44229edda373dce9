"""Photos sorted into albums on the disk, so that a page of them at a time is in memory."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from serving.scratch_database import ScratchDatabase
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.albums import Album

_TABLES = """
CREATE TABLE photos (
    section INTEGER NOT NULL, path BLOB NOT NULL, thumbnail TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (section, path)
) WITHOUT ROWID;
CREATE INDEX by_thumbnail ON photos (thumbnail);
"""


class Apart(Enum):
    """What photos are that belong to no album: of nowhere that is known, or refused."""

    UNPLACED = "unplaced"
    REFUSED = "refused"


class Shelved(NamedTuple):
    """An answered photo and the name of its thumbnail, if it has one."""

    photo: Tagged
    thumbnail: str | None


class Shelf(ScratchDatabase):
    """Photos by section; the file is removed when the shelf is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)
        self._sections: dict[Album | Apart, int] = {}
        self._db.execute("BEGIN")

    def put(self, section: Album | Apart, photo: Tagged, thumbnail: str | None) -> None:
        """Add a photo to a section."""
        number = self._sections.setdefault(section, len(self._sections))
        answer = json.dumps(photo.answer, ensure_ascii=False)
        row = (number, os.fsencode(photo.path), thumbnail, answer)
        self._db.execute("INSERT INTO photos VALUES (?, ?, ?, ?)", row)

    def photos(self, section: Album | Apart) -> Iterator[Shelved]:
        """Photos of a section in order of path."""
        query = "SELECT path, thumbnail, answer FROM photos WHERE section = ? ORDER BY path"
        for path, thumbnail, answer in self._db.execute(query, [self._sections.get(section)]):
            photo = Tagged(Path(os.fsdecode(path)), cast("Prediction", json.loads(answer)))
            yield Shelved(photo, thumbnail)

    def uses(self, thumbnail: str) -> bool:
        """Whether a photo has this thumbnail."""
        query = "SELECT EXISTS (SELECT 1 FROM photos WHERE thumbnail = ?)"
        return bool(self._db.execute(query, [thumbnail]).fetchone()[0])
