"""The table in parts: photos are assigned by a hash of their path, each part is written whole."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector

from serving.database import ScratchDatabase
from serving.tagging.table import SCHEMA
from serving.tagging.walk import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyarrow.fs import FileSystem

logger = logging.getLogger(__name__)

PART_SCHEMA = SCHEMA.append(pa.field("size", pa.int64())).append(pa.field("mtime_ns", pa.int64()))
"""The tagger's row, and the size and time of change that the photo had when it was read."""

# Readers of Parquet folders ignore names that start with an underscore.
_LAYOUT, _VERSION = "_layout.json", 1
_SCRATCH, _STALE = "_scratch-", timedelta(days=1)
_PART = re.compile(r"part-(\d{6,})\.parquet")
_ASKED = b"landmark_ml.asked"
_HASH_BITS = 63


@dataclass(frozen=True)
class Part:
    """Photos whose rows are in one file, in order of path."""

    index: int
    photos: tuple[Found, ...]


class Listing(ScratchDatabase):
    """The photos to tag, in a scratch file because millions of them may not fit into memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, "CREATE TABLE photos (hash INTEGER, path BLOB, size INTEGER, mtime_ns INTEGER)"
        )

    def fill(self, photos: Iterable[Found]) -> int:
        """Add photos; return how many there are."""

        def row(photo: Found) -> tuple[int, bytes, int, int]:
            path = os.fsencode(photo.path)
            number = int.from_bytes(hashlib.sha256(path).digest()[:8], "big") >> (64 - _HASH_BITS)
            return number, path, photo.size, photo.mtime_ns

        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO photos VALUES (?, ?, ?, ?)", map(row, photos))
        self._db.execute("COMMIT")
        (count,) = self._db.execute("SELECT count(*) FROM photos").fetchone()
        return int(count)

    def parts(self, bits: int) -> Iterator[Part]:
        """Those of 2 ** bits parts that have photos, in order."""
        query = "SELECT hash >> ? AS part, path, size, mtime_ns FROM photos ORDER BY part, path"
        rows = self._db.execute(query, [_HASH_BITS - bits])
        for index, photos in itertools.groupby(rows, lambda row: row[0]):
            found = (Found(Path(os.fsdecode(path)), *state) for _, path, *state in photos)
            yield Part(index, tuple(found))


def bits_for(photos: int, part_photos: int) -> int:
    """How many bits of the hash make parts of about that many photos."""
    return max(0, (photos - 1) // part_photos).bit_length()


class PartStore:
    """The parts in one folder or object store.

    A file is written beside its place and moved there, so it is there whole or as it was before.
    """

    def __init__(self, system: FileSystem) -> None:
        self._system = system

    def fix_bits(self, wanted: int, photos: str) -> int:
        """How many bits of the hash assign a photo to its part; the first run fixes it.

        photos: where they are. Raises ValueError when the parts are of other photos or of a newer
        version, or when the layout file is damaged.
        """
        try:
            with self._system.open_input_stream(_LAYOUT) as stream:
                content = stream.read()
        except FileNotFoundError:
            layout = {"version": _VERSION, "bits": wanted, "photos": photos}
            self._write(_LAYOUT, json.dumps(layout).encode())
            return wanted
        try:
            layout = json.loads(content)
            version = layout["version"]
            # A newer version may write the rest in another way.
            bits = int(layout["bits"]) if version == _VERSION else 0
            # The first layouts did not name the photos.
            before = layout.get("photos", photos)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{_LAYOUT} in out is damaged ({error!r}), so which part holds a photo's row is"
                " unknown; give another out"
            ) from None
        if version != _VERSION:
            raise ValueError(f"out was written by another version ({version}); give a new one")
        if before != photos:
            raise ValueError(
                f"photos={photos}, but out holds the table of {before}; give out a folder of its"
                f" own. If the photos moved, write their new place into its {_LAYOUT}"
            )
        return bits

    def indexes(self) -> list[int]:
        """Parts that exist. Removes half-written files of killed runs."""
        found, stale = [], datetime.now(UTC) - _STALE
        for info in self._system.get_file_info(FileSelector("")):
            if part := _PART.fullmatch(info.base_name):
                found.append(int(part[1]))
            elif info.base_name.startswith(_SCRATCH) and info.mtime and info.mtime < stale:
                self._system.delete_file(info.path)
        return sorted(found)

    def read(self, index: int, asked: str) -> list[dict[str, Any]]:
        """Rows of a part; none when it is not there, or answers another question.

        A file that cannot be read, as after a power cut, counts as not there.
        """
        try:
            with self._system.open_input_file(_name(index)) as file:
                table = pq.read_table(file)
        except FileNotFoundError:
            return []
        except pa.ArrowInvalid as error:
            logger.warning("%s cannot be read and is made again: %s", _name(index), error)
            return []
        metadata = table.schema.metadata or {}
        if metadata.get(_ASKED) != asked.encode() or not table.schema.equals(PART_SCHEMA):
            return []
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def write(self, index: int, rows: Sequence[dict[str, Any]], asked: str) -> None:
        """Replace a part."""
        schema = PART_SCHEMA.with_metadata({_ASKED: asked.encode()})
        content = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), content)
        self._write(_name(index), content.getvalue())

    def remove(self, index: int) -> None:
        """Remove a part that has no photos any more."""
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(_name(index))

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        scratch = f"{_SCRATCH}{uuid.uuid4().hex}"
        with self._system.open_output_stream(scratch) as stream:
            stream.write(content)
        self._system.move(scratch, name)


def _name(index: int) -> str:
    return f"part-{index:06}.parquet"
