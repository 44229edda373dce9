"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, content: bytes, scratch_name: str = "") -> None:
    """Write a file beside its place, flush it to the disk and move it there.

    scratch_name: name it has until then, where one process alone writes and what a killed one left
    should be overwritten; empty: one of this process.

    Raises OSError when the disk refuses; the file that was there before is then intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(scratch_name or f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
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
