"""The photos to tag, shared out over parts by a hash of their paths."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from serving.cluster.parts import Part
from serving.database import ScratchDatabase
from serving.tagging import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HASH_BITS = 63
_TABLE = "CREATE TABLE photos (hash INTEGER, path BLOB, size INTEGER, mtime_ns INTEGER)"


class Listing(ScratchDatabase):
    """Photos in a scratch file, because millions of them need not fit into memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLE)

    def fill(self, photos: Iterable[Found]) -> int:
        """Take photos in, and return how many there are."""
        rows = (_row(photo) for photo in photos)
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO photos VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")
        (count,) = self._db.execute("SELECT count(*) FROM photos").fetchone()
        return int(count)

    def parts(self, bits: int) -> Iterator[Part]:
        """The parts of 2 ** bits that have photos, in order, each with its photos by path."""
        rows = self._db.execute("SELECT * FROM photos ORDER BY hash")
        for index, photos in itertools.groupby(rows, lambda row: row[0] >> (_HASH_BITS - bits)):
            found = sorted(photos, key=lambda row: row[1])
            yield Part(index, tuple(Found(Path(os.fsdecode(row[1])), *row[2:]) for row in found))


def bits_for(photos: int, part_photos: int) -> int:
    """How many bits of the hash make parts of about that many photos."""
    return max(0, (photos - 1) // part_photos).bit_length()


def _row(photo: Found) -> tuple[int, bytes, int, int]:
    path = os.fsencode(photo.path)
    hashed = int.from_bytes(hashlib.sha256(path).digest()[:8], "big") >> (64 - _HASH_BITS)
    return hashed, path, photo.size, photo.mtime_ns
