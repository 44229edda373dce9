"""Folders on a disk and addresses of object stores, opened alike."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec
import pyarrow as pa
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from landmark_ml.config import user_path


def local_folder(place: str) -> Path | None:
    """The folder that a path or a `file://` address means; None for any other address."""
    if "://" not in place:
        return user_path(place).resolve()
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_folder(place: str, *, create: bool = False) -> SubTreeFileSystem:
    """File system whose root is a folder or an address such as `s3://bucket/photos`.

    create: make it when it is not there.

    pyarrow's own file systems come first (s3, gs, abfs), then those of fsspec. Raises ValueError
    for an address that neither knows.
    """
    system, root = _find(place)
    if create:
        system.create_dir(root, recursive=True)
    return SubTreeFileSystem(root, system)


def _find(place: str) -> tuple[FileSystem, str]:
    folder = local_folder(place)
    if folder is not None:
        return LocalFileSystem(), str(folder)
    try:
        found: tuple[FileSystem, str] = FileSystem.from_uri(place)
    except pa.ArrowInvalid:
        return _find_with_fsspec(place)
    return found


def _find_with_fsspec(place: str) -> tuple[FileSystem, str]:
    try:
        system, root = fsspec.core.url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise ValueError(f"{place!r} cannot be opened ({error}); give s3://…, gs://…") from None
    return PyFileSystem(FSSpecHandler(system)), root
