"""Decoded pixels on disk: every photo decoded once for each size, mapped into memory to train on.

One pair of files for each way from photo to pixels: rows of uint8 one after the other, and the
content hash of the photo in each. Rows are only ever added, so what a process has mapped never
changes. A row counts once its hash is written, after the pixels reached the disk.
"""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from landmark_ml.data import Photo

logger = logging.getLogger(__name__)

_HASH_LINE = 65
_AT_ONCE = 64


class PixelStoreError(ValueError):
    """Pixels that cannot be kept; the message says where and what to do."""


@dataclass(frozen=True)
class StoredPixels:
    """Pixels of photos, read from the disk as they are asked for: uint8 [N, 3, side, side]."""

    mapped: NDArray[np.uint8]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Pixels of some photos, uint8 [B, 3, side, side], in memory."""
        return torch.from_numpy(self.mapped[self.rows[chosen.numpy()]])


@dataclass(frozen=True)
class PixelStore:
    """Pixels by the content of their photos, in `pixels/` of a cache folder."""

    cache: Path

    def load(
        self,
        photos: Sequence[Photo],
        side: int,
        key: str,
        read: Callable[[Sequence[Photo]], Iterator[NDArray[np.uint8]]],
    ) -> StoredPixels:
        """Pixels of photos; `read` decodes those that are missing to uint8 [3, side, side] each.

        key: names the way from photo to pixels; another one keeps files of its own. Several
        processes may ask at once: one decodes, the others wait for it. Raises PixelStoreError when
        the disk refuses.
        """
        folder = self.cache / "pixels"
        folder.mkdir(parents=True, exist_ok=True)
        file = _RowFile(folder / f"{key}.rgb", folder / f"{key}.sha256", 3 * side * side)
        with FileLock(folder / f"{key}.lock"):
            known = file.hashes()
            rows = {sha256: row for row, sha256 in enumerate(known)}
            missing = list({p.sha256: p for p in photos if p.sha256 not in rows}.values())
            if missing:
                file.cut_to(len(known))
                file.append(missing, read(missing))
                rows |= {p.sha256: len(known) + i for i, p in enumerate(missing)}
        total = len(known) + len(missing)
        logger.info(
            "%d of %d photos decoded anew; %s holds %.0f MB",
            *(len(missing), len(photos), file.pixels, total * file.row / 1e6),
        )
        # Copy on write: nobody can change the file by what he does to his batch.
        mapped = np.memmap(file.pixels, np.uint8, "c", shape=(total, 3, side, side))
        return StoredPixels(mapped.view(np.ndarray), np.array([rows[p.sha256] for p in photos]))


@dataclass(frozen=True)
class _RowFile:
    """Rows of so many bytes, and beside them a line for each with the hash of its photo."""

    pixels: Path
    index: Path
    row: int

    def hashes(self) -> list[str]:
        """Hash of the photo in each row; a row that a killed process left unfinished is not one."""
        if not self.index.is_file() or not self.pixels.is_file():
            return []
        lines = self.index.read_bytes()[: self.pixels.stat().st_size // self.row * _HASH_LINE]
        return [
            lines[start : start + _HASH_LINE - 1].decode("ascii", "replace")
            for start in range(0, len(lines) - len(lines) % _HASH_LINE, _HASH_LINE)
        ]

    def cut_to(self, rows: int) -> None:
        """Take away what stands after the last whole row."""
        for path, length in ((self.pixels, rows * self.row), (self.index, rows * _HASH_LINE)):
            path.touch()
            os.truncate(path, length)

    def append(self, photos: Sequence[Photo], pixels: Iterator[NDArray[np.uint8]]) -> None:
        """Add rows, so many at a time that a killed process has not worked in vain.

        Raises PixelStoreError when they cannot be written; what decoding raises is not the disk's.
        """
        decoded = zip(photos, pixels, strict=True)
        while some := list(itertools.islice(decoded, _AT_ONCE)):
            try:
                self._write(some)
            except OSError as error:
                raise PixelStoreError(
                    f"pixels of {len(photos)} photos were not kept in {self.pixels}:"
                    f" {error.strerror or error}; free {len(photos) * self.row / 1e6:.0f} MB"
                    " there or give another cache_dir"
                ) from error

    def _write(self, some: Sequence[tuple[Photo, NDArray[np.uint8]]]) -> None:
        with self.pixels.open("ab") as rows, self.index.open("ab") as index:
            rows.write(b"".join(picture.tobytes() for _, picture in some))
            _flush(rows.fileno(), rows.flush)
            index.write("".join(f"{photo.sha256}\n" for photo, _ in some).encode())
            _flush(index.fileno(), index.flush)


def _flush(handle: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(handle)
