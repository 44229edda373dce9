"""Files: written whole or not at all; which names to skip, and how to print any name."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

# Thumbnails, settings, recycle bins and repaired files of Windows, macOS, Linux and network drives.
_OF_SYSTEMS = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "desktop.ini",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)


def is_of_the_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that an operating system makes for itself."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def spelled(text: str) -> str:
    """Text safe for tables, logs and terminals: bytes in names that are not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def make_cache(folder: Path) -> None:
    """Make a folder of the cache. Raises ValueError where none can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"{folder} cannot be made ({reason}); make it writable or give another cache_dir"
        ) from error


def write_whole(path: Path, content: bytes, scratch_name: str = "") -> None:
    """Write a file at once, as `whole_file` does."""
    with whole_file(path, scratch_name) as scratch:
        scratch.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: Path, scratch_name: str = "", *, flush: bool = True) -> Iterator[Path]:
    """Path to write a file to; when the block ends well, the file moves to its place.

    A reader sees the old file or the new one, never a part. A block that raises leaves nothing
    behind. A file that is replaced passes on its mode and, where the system permits, its owner.

    scratch_name: name of the file while it is written, where only one process writes it and should
    overwrite what a killed one left; empty: a name of this process. flush: wait for the disk;
    without it writing is many times faster and a power cut may leave an empty file, which is enough
    for what can be made again. Raises OSError when the disk refuses; the old file is then intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(scratch_name or f".{path.name}.{os.getpid()}.tmp")
    before = path.stat() if os.name == "posix" and path.is_file() else None
    try:
        if before is not None:
            # Set now, so that a private file is not readable by others while it is written.
            scratch.unlink(missing_ok=True)
            scratch.touch(0o600)
        yield scratch
        # Opened first: the mode that is passed on may forbid it.
        with scratch.open("rb+") if flush else contextlib.nullcontext() as file:
            if before is not None:
                _pass_on(before, scratch)
            if file is not None:
                os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        if error.filename is None:
            # The system names no file for a full disk.
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        scratch.unlink(missing_ok=True)
    # The new name must reach the disk too; Windows has no handle for a folder to flush.
    if flush and os.name == "posix":
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _pass_on(before: os.stat_result, scratch: Path) -> None:
    """Give a file the mode of another one and, as far as the system permits, its owner."""
    state = scratch.stat()
    if (state.st_uid, state.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            # Members of the group may keep it even where they may not keep the owner.
            os.chown(scratch, -1, before.st_gid)
            os.chown(scratch, before.st_uid, -1)
    mode = stat.S_IMODE(before.st_mode) & 0o777
    # A file system without modes refuses to change what it shows.
    if stat.S_IMODE(state.st_mode) != mode:
        scratch.chmod(mode)
