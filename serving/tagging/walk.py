"""Find the photos of a library: every folder once, even where links form a loop."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.files import is_of_the_system
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, read_at_most

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
"""Picture formats that we cannot read; they are counted, so that the user hears of them."""

MAX_READ_BYTES = DEFAULT_LIMITS.max_bytes + 1
"""Bytes read of a photo: one more than allowed is enough for the decoder to refuse it."""

_MAX_MTIME_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A photo file: path within the library, size in bytes, time of last change."""

    path: Path
    size: int
    mtime_ns: int


@dataclass
class Library:
    """A folder of photos. Hidden files and the folders in `skip` are left out.

    While walking, `other_pictures` counts suffixes that we cannot read, and `unreadable` records
    why a folder or link could not be opened, by its path within the library.

    Raises ValueError when the root is not a folder, or is itself in `skip`.
    """

    root: Path
    skip: frozenset[Path] = frozenset()
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise ValueError(f"photos={self.root} is not a folder; name the folder of your photos")
        if self.root.resolve() in self.skip:
            raise ValueError(
                f"photos={self.root} is also the folder to write to, where no photos are looked"
                f" for; give out a folder of its own, such as {self.root / 'tags'}"
            )

    def walk(self) -> Iterator[Found]:
        """Yield photos: a folder's own before those of its subfolders, both in order of name.

        Links to folders are followed, but no folder is walked twice. Pipes and devices are left
        out.
        """
        walked: set[tuple[int, int]] = set()
        waiting = [self.root]
        while waiting:
            entries = self._open(waiting.pop(), walked)
            subfolders = [Path(entry) for entry in entries if self._is_folder(entry)]
            waiting.extend(reversed(subfolders))
            for entry in entries:
                if found := self._photo(entry):
                    yield found

    def read(self, path: Path) -> bytes | OSError:
        """Read a photo by its path within the library; an error is returned, not raised."""
        try:
            return read_at_most(self.root / path, MAX_READ_BYTES)
        except OSError as error:
            return error
        except PhotoError as error:
            return OSError(str(error))

    def _open(self, folder: Path, walked: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """Visible entries by name; none when the folder was walked before."""
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in walked or folder.resolve() in self.skip:
                return []
            walked.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not is_of_the_system(entry.name)]
        except OSError as error:
            self._note(folder, error)
            return []
        return sorted(visible, key=lambda entry: entry.name)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            if entry.is_symlink():
                # `is_dir` hides a dangling link, and its disk may just not be mounted.
                entry.stat()
            return entry.is_dir()
        except OSError as error:
            self._note(Path(entry), error)
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
            self._note(Path(entry), error)
            return None
        # A damaged time stamp may lie centuries away, beyond what SQLite can store.
        changed = max(-_MAX_MTIME_NS, min(state.st_mtime_ns, _MAX_MTIME_NS))
        return Found(Path(entry).relative_to(self.root), state.st_size, changed)

    def _note(self, path: Path, error: OSError) -> None:
        within = path.relative_to(self.root)
        if within not in self.unreadable:
            logger.warning("%s cannot be opened and is left out: %s", path, error)
            self.unreadable[within] = error.strerror or str(error)
