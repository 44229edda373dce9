"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_whole(path: Path, content: bytes, scratch_name: str = "") -> None:
    """Write a file beside its place, flush it to the disk and move it there.

    scratch_name: name it has until then, where one process alone writes and what a killed one left
    should be overwritten; empty: one of this process.

    Raises OSError when the disk refuses; the file that was there before is then intact.
    """
    with whole_file(path, scratch_name) as scratch:
        scratch.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: Path, scratch_name: str = "", *, flush: bool = True) -> Iterator[Path]:
    """Path to write a file of any size to; when the block ends well, it moves to its place.

    Parameters and errors as of `write_whole`; a block that raises leaves nothing behind. Without
    flush it is many times faster and a power cut may leave an empty file: for what can be made
    again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(scratch_name or f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        if flush:
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    if flush:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # The new name must reach the disk too; Windows has no handle for a folder to flush.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
