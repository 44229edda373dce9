"""Photos and parts of the table, in folders and object stores alike."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from landmark_ml.data.stores import local_folder, open_folder
from landmark_ml.files import is_of_the_system
from serving.tagging.journal import Database
from serving.tagging.library import MAX_READ_BYTES, OTHER_PICTURES, PHOTO_SUFFIXES, Found, Library
from serving.tagging.table import SCHEMA

logger = logging.getLogger(__name__)


def open_photos(photos: str, out: str) -> Library | StoredPhotos:
    """Photos of a folder or an address, without what is in `out`.

    Raises ValueError when there is no such folder.
    """
    folder, skipped = local_folder(photos), local_folder(out)
    if folder is not None:
        return Library(folder, skip=frozenset([skipped] if skipped else []))
    return StoredPhotos(open_folder(photos), photos)


class StoredPhotos:
    """Photos in an object store, chosen by the rules of `Library`.

    Folders of the first level are listed one after the other, so that only the largest of them has
    to fit into memory. address: what error messages call it.
    """

    def __init__(self, system: FileSystem, address: str) -> None:
        self.other_pictures: Counter[str] = Counter()
        self.unreadable: dict[Path, str] = {}
        self._system = system
        self._address = address

    def walk(self) -> Iterator[Found]:
        """Yield photos, those of the first level before those of the folders in it.

        Raises ValueError when there is no such address.
        """
        try:
            infos = self._system.get_file_info(FileSelector(""))
        except FileNotFoundError:
            raise ValueError(f"photos={self._address} is not there; check the address") from None
        yield from self._photos(infos)
        for info in sorted(infos, key=lambda info: info.path):
            if info.type == FileType.Directory and _is_visible(info.path):
                selector = FileSelector(info.path, recursive=True)
                yield from self._photos(self._system.get_file_info(selector))

    def read(self, path: Path) -> bytes | OSError:
        """Read a photo; an error is returned, not raised."""
        try:
            with self._system.open_input_stream(path.as_posix()) as stream:
                content: bytes = stream.read(MAX_READ_BYTES)
        except OSError as error:
            return error
        except pa.ArrowInvalid as error:
            # A name that the store has and pyarrow does not take.
            return OSError(str(error))
        return content

    def _photos(self, infos: list[FileInfo]) -> Iterator[Found]:
        for info in infos:
            if info.type != FileType.File or not _is_visible(info.path):
                continue
            suffix = PurePosixPath(info.path).suffix.lower()
            if suffix in OTHER_PICTURES:
                self.other_pictures[suffix] += 1
            if suffix in PHOTO_SUFFIXES:
                yield Found(Path(info.path), info.size, info.mtime_ns or 0)


def _is_visible(path: str) -> bool:
    return not any(is_of_the_system(name) for name in path.split("/"))


PART_SCHEMA = SCHEMA.append(pa.field("size", pa.int64())).append(pa.field("mtime_ns", pa.int64()))
"""The tagger's row, and the size and time of change that the photo had when it was read."""

# Readers of Parquet folders ignore names that start with an underscore.
_LAYOUT = "_layout.json"
_SCRATCH, _STALE = "_scratch-", timedelta(days=1)
_PART = re.compile(r"part-(\d{6,})\.parquet")
_ASKED = b"landmark_ml.asked"
_HASH_BITS = 63


@dataclass(frozen=True)
class Part:
    """Photos whose rows are in one file, in order of path."""

    index: int
    photos: tuple[Found, ...]


class Listing(Database):
    """The photos to tag, in a temporary file because millions of them may not fit into memory."""

    def __init__(self) -> None:
        super().__init__(
            None, "CREATE TABLE photos (hash INTEGER, path BLOB, size INTEGER, mtime_ns INTEGER)"
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
        """The parts that have photos, of 2 ** bits, in order."""
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

        photos: where they are. Raises ValueError when the parts are of other photos, or when the
        layout file is damaged.
        """
        try:
            with self._system.open_input_stream(_LAYOUT) as stream:
                content = stream.read()
        except FileNotFoundError:
            layout = {"bits": wanted, "photos": photos}
            self._write(_LAYOUT, json.dumps(layout).encode())
            return wanted
        try:
            layout = json.loads(content)
            bits, before = int(layout["bits"]), layout["photos"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{_LAYOUT} in out is damaged ({error!r}), so which part holds a photo's row is"
                " unknown; give another out"
            ) from None
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
