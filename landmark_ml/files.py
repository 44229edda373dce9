"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_whole(path: Path, content: bytes, scratch_name: str = "") -> None:
    """Write a file beside its place, flush it to the disk and move it there.

    scratch_name: name it has until then, where one process alone writes and what a killed one left
    should be overwritten; empty: one of this process. A file that is replaced hands on its mode
    and, where the system permits, its owner.

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
    before = _replaced(path)
    try:
        if before is not None:
            # Who may not read the old file may not read the new one while it is written.
            scratch.unlink(missing_ok=True)
            scratch.touch(0o600)
        yield scratch
        # Opened before: the mode that is handed on may forbid it.
        with scratch.open("rb+") if flush else contextlib.nullcontext() as file:
            if before is not None:
                _hand_on(before, scratch)
            if file is not None:
                os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    if flush:
        _flush_folder(path.parent)


def _replaced(path: Path) -> os.stat_result | None:
    """State of the file that stands at a path; None where nothing of it is to be handed on."""
    if os.name != "posix" or not path.is_file():
        return None
    return path.stat()


def _hand_on(before: os.stat_result, scratch: Path) -> None:
    """Give a file the owner, as far as the system permits, and the mode of another one."""
    state = scratch.stat()
    if (state.st_uid, state.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            # To keep the group is permitted to its members, where the owner cannot be kept.
            os.chown(scratch, -1, before.st_gid)
            os.chown(scratch, before.st_uid, -1)
    mode = stat.S_IMODE(before.st_mode) & 0o777
    # A file system without modes refuses to change what it shows.
    if stat.S_IMODE(state.st_mode) != mode:
        scratch.chmod(mode)


def _flush_folder(folder: Path) -> None:
    # The new name must reach the disk too; Windows has no handle for a folder to flush.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
