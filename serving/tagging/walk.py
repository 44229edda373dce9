"""The photos of a library: every folder once, however its links run."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.files import is_of_the_system
from landmark_ml.inference.photos import DEFAULT_LIMITS, read_at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_READ = "jpg jpeg jpe jfif png apng webp avif gif tif tiff bmp heic heif hif"
_RAW = (
    "3fr arq arw bay cr2 cr3 crw dc2 dcr dcs dng drf eip erf fff gpr iiq k25 kc2 kdc mef mos mrw"
    " nef nrw orf ori pef pxn raf raw rw2 rwl rwz sr2 srf srw sti x3f"
)
_NOT_READ = f"{_RAW} j2k jp2 jpf jpx jxl psb psd svg"
PHOTO_SUFFIXES = frozenset(f".{name}" for name in _READ.split())
OTHER_PICTURES = frozenset(f".{name}" for name in _NOT_READ.split())
"""Pictures of formats that are not read: counted, so that nobody misses them unawares."""

_FARTHEST_NS = 2**63 - 1

MOST_BYTES = DEFAULT_LIMITS.max_bytes + 1
"""Of a photo that are read: one more than allowed is enough for the decoder to refuse it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A photo file: path within the library, bytes, and time of its last change."""

    path: Path
    size: int
    mtime_ns: int


@dataclass
class Library:
    """A folder of photos; hidden files and folders are left alone, and what `skip` names.

    `other_pictures` counts the suffixes that were met and are not read; `unreadable` tells, by
    path within the library, why a folder could not be opened or a link leads nowhere.

    Raises ValueError when the root is no folder or to be skipped itself.
    """

    root: Path
    skip: frozenset[Path] = frozenset()
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise ValueError(f"photos={self.root} is no folder; name the folder of your photos")
        if self.root.resolve() in self.skip:
            raise ValueError(
                f"photos={self.root} is the folder to write to as well, where no photos are looked"
                f" for; give out a folder of its own, such as {self.root / 'tags'}"
            )

    def walk(self) -> Iterator[Found]:
        """Photos, each folder's own before those of its subfolders, both in order of name.

        Links to folders are followed; a folder that was walked already, a loop among them, is not
        walked again. Pipes and devices are passed over.
        """
        walked: set[tuple[int, int]] = set()
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            entries = self._enter(folder, walked)
            subfolders = [Path(entry) for entry in entries if self._is_folder(entry)]
            waiting.extend(reversed(subfolders))
            for entry in entries:
                if found := self._photo(entry):
                    yield found

    def read(self, path: Path) -> bytes | OSError:
        """Bytes of a photo by its path within the library, or why the system does not give them."""
        try:
            file = self.root / path
            return read_at_most(file, file.stat().st_size, MOST_BYTES)
        except OSError as error:
            return error

    def _enter(self, folder: Path, walked: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """Visible entries of a folder that was not walked yet."""
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in walked or folder.resolve() in self.skip:
                return []
            walked.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                return sorted(
                    (e for e in entries if not is_of_the_system(e.name)), key=lambda e: e.name
                )
        except OSError as error:
            self._pass_over(folder, error)
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            if entry.is_symlink():
                # One that leads nowhere is told by an error: its disk may not be mounted.
                entry.stat()
            return entry.is_dir()
        except OSError as error:
            self._pass_over(Path(entry), error)
            return False

    def _photo(self, entry: os.DirEntry[str]) -> Found | None:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - once for every file
        if suffix in OTHER_PICTURES:
            self.other_pictures[suffix] += 1
        if suffix not in PHOTO_SUFFIXES:
            return None
        try:
            if not entry.is_file():
                return None
            state = entry.stat()
        except OSError as error:
            self._pass_over(Path(entry), error)
            return None
        # A damaged time stamp may lie centuries away, beyond what a database takes.
        changed = max(-_FARTHEST_NS, min(state.st_mtime_ns, _FARTHEST_NS))
        return Found(Path(entry).relative_to(self.root), state.st_size, changed)

    def _pass_over(self, path: Path, error: OSError) -> None:
        within = path.relative_to(self.root)
        if within not in self.unreadable:
            logger.warning("%s cannot be opened and is passed over: %s", path, error)
            self.unreadable[within] = error.strerror or str(error)
