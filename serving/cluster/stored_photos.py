"""The photos under an address, chosen by the same rules as those of a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyarrow.fs import FileSelector, FileType

from landmark_ml.files import is_of_the_system
from serving.cluster.addresses import local_folder, open_folder
from serving.tagging import MAX_READ_BYTES, OTHER_PICTURES, PHOTO_SUFFIXES, Found, Library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.fs import FileInfo, FileSystem


class Photos(Protocol):
    """Photos to tag: a `Library`, or those of an object store."""

    other_pictures: Counter[str]
    unreadable: dict[Path, str]

    def walk(self) -> Iterator[Found]:
        """Photos by their paths from the root."""

    def read(self, path: Path) -> bytes | OSError:
        """Bytes of a photo, or why the system does not give them."""


def open_photos(photos: str, out: str) -> Photos:
    """Photos of a folder or an address; what lies in `out` is none of them.

    Raises ValueError when there is no such folder.
    """
    folder, made = local_folder(photos), local_folder(out)
    if folder is not None:
        return Library(folder, skip=frozenset([made] if made else []))
    return StoredPhotos(open_folder(photos), photos)


class StoredPhotos:
    """Photos in a file system; address: what errors call it.

    Listed is one folder of the first level after the other, so that no more than the largest of
    them is held in memory.
    """

    def __init__(self, system: FileSystem, address: str) -> None:
        self.other_pictures: Counter[str] = Counter()
        self.unreadable: dict[Path, str] = {}
        self._system = system
        self._address = address

    def walk(self) -> Iterator[Found]:
        """Photos, those of the first level before those of the folders below it.

        Raises ValueError when there is no such address.
        """
        try:
            infos = self._system.get_file_info(FileSelector(""))
        except FileNotFoundError:
            raise ValueError(f"photos={self._address} is not there; check the address") from None
        yield from self._photos(infos)
        for info in sorted(infos, key=lambda info: info.path):
            if info.type == FileType.Directory and _is_visible(info.path):
                yield from self._photos(
                    self._system.get_file_info(FileSelector(info.path, recursive=True))
                )

    def read(self, path: Path) -> bytes | OSError:
        """Bytes of a photo, or why the store does not give them."""
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
            suffix = PurePosixPath(info.path).suffix.lower()
            if info.type != FileType.File or not _is_visible(info.path):
                continue
            if suffix in OTHER_PICTURES:
                self.other_pictures[suffix] += 1
            if suffix in PHOTO_SUFFIXES:
                yield Found(Path(info.path), info.size, info.mtime_ns or 0)


def _is_visible(path: str) -> bool:
    return not any(is_of_the_system(name) for name in path.split("/"))
