"""Photos and tables in folders and object stores, opened alike through pyarrow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import fsspec
import pyarrow as pa
from pyarrow.fs import (
    FileSelector,
    FileSystem,
    FileType,
    FSSpecHandler,
    LocalFileSystem,
    PyFileSystem,
    SubTreeFileSystem,
)

from landmark_ml.config import user_path
from landmark_ml.files import is_of_the_system
from serving.tagging.walk import MAX_READ_BYTES, OTHER_PICTURES, PHOTO_SUFFIXES, Found, Library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.fs import FileInfo


def local_folder(place: str) -> Path | None:
    """The folder that a path or a `file://` address means; None for any other address."""
    if "://" not in place:
        return user_path(place).resolve()
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_folder(place: str, *, create: bool = False) -> SubTreeFileSystem:
    """File system whose root is a folder or an address such as `s3://bucket/photos`.

    pyarrow's own file systems come first (s3, gs, abfs), then fsspec's. create: make the folder.
    Raises ValueError for an address that neither knows.
    """
    folder = local_folder(place)
    if folder is not None:
        system, root = LocalFileSystem(), str(folder)
    else:
        try:
            system, root = FileSystem.from_uri(place)
        except pa.ArrowInvalid:
            try:
                found, root = fsspec.core.url_to_fs(place)
            except (ValueError, ImportError) as error:
                raise ValueError(
                    f"{place!r} cannot be opened ({error}); give s3://…, gs://…"
                ) from None
            system = PyFileSystem(FSSpecHandler(found))
    if create:
        system.create_dir(root, recursive=True)
    return SubTreeFileSystem(root, system)


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
