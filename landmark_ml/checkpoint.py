"""Checkpoints that survive a crash: written whole, checked by content, the last two kept."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")
_KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message names the file and the way out."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in a folder, named by epoch and a hash of their content."""

    folder: Path

    def save(self, epoch: int, state: dict[str, Any]) -> Path:
        """Write the state after an epoch; the one before stays until this one is safe.

        state: tensors, numbers, strings and containers of these. Raises CheckpointError when the
        disk refuses; earlier checkpoints are then intact.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.folder / f"epoch-{epoch:06d}-{_digest(content)}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path} was not written: {error.strerror or error}; free"
                f" {len(content) / 1e6:.0f} MB there or give another cache_dir. Earlier"
                " checkpoints are intact"
            ) from error
        for old in self._sorted()[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def any(self) -> bool:
        """Whether a checkpoint was ever written here, sound or not."""
        return bool(self._sorted())

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """Epoch and state of the newest sound checkpoint; None when there is none at all.

        A damaged one is refused with a warning and the one before it taken. Raises CheckpointError
        when all are damaged.
        """
        found = self._sorted()
        for path in reversed(found):
            try:
                return int(_NAME.fullmatch(path.name)[1]), read_checkpoint(path)  # type: ignore[index]
            except CheckpointError as error:
                logger.warning("%s", error)
        if found:
            raise CheckpointError(
                f"every checkpoint in {self.folder} is damaged; remove the folder and start anew"
            )
        return None

    def _sorted(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State of one file, tensors and plain values only: no code is ever run.

    Raises CheckpointError when its content is not what its name promises.
    """
    content = path.read_bytes()
    name = _NAME.fullmatch(path.name)
    if name is None or _digest(content) != name[2]:
        raise CheckpointError(
            f"checkpoint {path} is truncated or was changed: its content does not match the hash"
            " in its name; the one before it is used if there is one"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return state


def _write_whole(path: Path, content: bytes) -> None:
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # The new name itself must reach the disk too.
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        scratch.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
