"""The table in parts: files that are each written whole, and hold what decides to do them again."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector

from serving.tagging import SCHEMA, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow.fs import FileInfo, FileSystem

logger = logging.getLogger(__name__)

PART_SCHEMA = SCHEMA.append(pa.field("size", pa.int64())).append(pa.field("mtime_ns", pa.int64()))
"""Row of the tagger's table, and by which size and time of change the photo was read."""

# Readers of Parquet pass over names that start so.
_LAYOUT, _VERSION = "_layout.json", 1
_PART = re.compile(r"part-(\d{6,})\.parquet")
_SCRATCH, _STALE_SECONDS = "_scratch-", 24 * 3600
_ASKED = b"landmark_ml.asked"


@dataclass(frozen=True)
class Part:
    """Photos whose rows stand in one file."""

    index: int
    photos: tuple[Found, ...]

    def to_table(self) -> pa.Table:
        """One row, as a cluster hands parts around; a path need not be text."""
        columns = {
            "index": [self.index],
            "paths": pa.array([[os.fsencode(p.path) for p in self.photos]], pa.list_(pa.binary())),
            "sizes": pa.array([[p.size for p in self.photos]], pa.list_(pa.int64())),
            "mtimes_ns": pa.array([[p.mtime_ns for p in self.photos]], pa.list_(pa.int64())),
        }
        return pa.table(columns)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Part:
        """Part of a row of such a table."""
        columns = zip(row["paths"], row["sizes"], row["mtimes_ns"], strict=True)
        return cls(
            row["index"],
            tuple(Found(Path(os.fsdecode(path)), size, mtime) for path, size, mtime in columns),
        )


class PartStore:
    """The parts under one root, which may be an object store.

    A part is written beside its place and moved there, so that it is there whole or as it was.
    """

    def __init__(self, system: FileSystem) -> None:
        self._system = system

    def settle_bits(self, wanted: int, photos: str) -> int:
        """How many bits of the hash tell the part of a photo: as settled before, or as wanted.

        photos: where they lie. Raises ValueError when these parts are of photos elsewhere, were
        settled by a newer version, or what settled them is damaged.
        """
        try:
            with self._system.open_input_stream(_LAYOUT) as stream:
                return _bits(stream.read(), photos)
        except FileNotFoundError:
            layout = {"version": _VERSION, "bits": wanted, "photos": photos}
            self._write(_LAYOUT, json.dumps(layout).encode())
            return wanted

    def indexes(self) -> list[int]:
        """Parts that are there; what killed runs left half-written is taken away."""
        found = []
        for info in self._system.get_file_info(FileSelector("")):
            name = info.base_name
            if part := _PART.fullmatch(name):
                found.append(int(part[1]))
            elif name.startswith(_SCRATCH) and _seconds_since(info) > _STALE_SECONDS:
                self._system.delete_file(info.path)
        return sorted(found)

    def read(self, index: int, asked: str) -> list[dict[str, Any]]:
        """Rows of a part that answer this question; none when it is not there or answers another.

        A file that cannot be read, as a power cut may leave it, counts as not there.
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
        """Put rows in the place of a part."""
        schema = PART_SCHEMA.with_metadata({_ASKED: asked.encode()})
        content = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), content)
        self._write(_name(index), content.getvalue())

    def remove(self, index: int) -> None:
        """Take away a part that has no photos any more."""
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(_name(index))

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        scratch = f"{_SCRATCH}{uuid.uuid4().hex}"
        with self._system.open_output_stream(scratch) as stream:
            stream.write(content)
        self._system.move(scratch, name)


def _bits(content: bytes, photos: str) -> int:
    try:
        layout = json.loads(content)
        # A newer version may spell the rest in another way.
        version = layout["version"]
        bits = int(layout["bits"]) if version == _VERSION else None
        # Layouts of before did not say.
        before = layout.get("photos", photos)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{_LAYOUT} in out is damaged ({error!r}), so where a photo's row stands is not known;"
            " give another out"
        ) from None
    if bits is None:
        raise ValueError(f"out was written by another version ({version}); give a new one")
    if before != photos:
        raise ValueError(
            f"photos={photos}, and out holds the table of {before}; give out a folder of its own."
            f" If the photos moved, write where they lie now into its {_LAYOUT}"
        )
    return bits


def _seconds_since(info: FileInfo) -> float:
    return time.time() - (info.mtime.timestamp() if info.mtime else time.time())


def _name(index: int) -> str:
    return f"part-{index:06}.parquet"
