"""Unpack a downloaded zip archive without trusting it."""

from __future__ import annotations

import logging
import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

logger = logging.getLogger(__name__)

MAX_FILES = 200_000
MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 50
"""Most bytes an entry may unpack to for each byte stored; photos hardly compress at all."""
_RATIO_FREE_BYTES = 1 << 20
_ENCRYPTED = 0x1
_CHUNK = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
)


class ArchiveError(ValueError):
    """An archive that is not a zip, is damaged or reaches outside its folder."""


def unpack_zip(archive: Path, folder: Path) -> Path:
    """Unpack archive as folder, which must not exist yet; it appears complete or not at all.

    Raises ArchiveError for anything that is not a sound, unencrypted zip of plain files and
    folders within the limits of this module.
    """
    if folder.exists():
        raise ArchiveError(f"{folder} already exists: remove it to unpack {archive.name} again")
    if not zipfile.is_zipfile(archive):
        raise ArchiveError(
            f"{archive} is not a complete zip archive but {_describe(archive)}; check the address"
            " it came from, remove the file and download it again"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        built = Path(scratch) / "unpacked"
        built.mkdir()
        try:
            with zipfile.ZipFile(archive) as source:
                _unpack_entries(source, built)
        except _DAMAGE as error:
            # Of an error of the disk the number is known, of bytes that bzip2 cannot read none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ArchiveError(
                f"{archive} is damaged ({error}); remove it and download it again"
            ) from error
        built.replace(folder)
    return folder


def _unpack_entries(source: zipfile.ZipFile, folder: Path) -> None:
    entries = source.infolist()
    _check_sizes(entries, source.filename or "the archive")
    for entry in entries:
        _check_entry(entry)
    for entry in tqdm(entries, desc="unpacking", unit="file"):
        try:
            _unpack_entry(source, entry, folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise ArchiveError(
                f"archive entry {entry.filename!r} is there twice, or as a file and as a folder:"
                " unpack it by hand, and give the folder"
            ) from error


def _unpack_entry(source: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(entry.filename).parts)
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(entry) as packed, target.open("xb") as unpacked:
        shutil.copyfileobj(packed, unpacked, _CHUNK)


def _check_sizes(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > MAX_FILES:
        raise ArchiveError(f"{name} holds {len(entries)} entries, over the limit of {MAX_FILES}")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        raise ArchiveError(
            f"{name} unpacks to {total:,} bytes, over the limit of {MAX_UNPACKED_BYTES:,}"
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.anchor or ".." in windows.parts or "\\" in name:
        raise ArchiveError(f"archive entry {name!r} points outside the folder: refused")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(f"archive entry {name!r} is a link or device, not a file: refused")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"archive entry {name!r} is encrypted: unpack it by hand")
    allowed = max(_RATIO_FREE_BYTES, MAX_RATIO * entry.compress_size)
    if entry.file_size > allowed:
        raise ArchiveError(
            f"archive entry {name!r} unpacks from {entry.compress_size:,} to"
            f" {entry.file_size:,} bytes, over {MAX_RATIO} times: refused as a zip bomb"
        )


def _describe(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if head.startswith(b"PK"):
        return "a zip cut short"
    return f"a file that starts with {head[:16]!r}"
