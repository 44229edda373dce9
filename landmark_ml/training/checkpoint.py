"""Checkpoints that survive a crash: written whole, checked by content, the last two kept."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from landmark_ml.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")
_SCRATCH = "next.tmp"
_NEXT = "; the one before it is used if there is one"
_FOREIGN = f" and was not written by this program{_NEXT}"


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message names the file and the way out."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in a folder, named by epoch and a hash of their content.

    One process at a time may save to a folder.
    """

    folder: Path

    def save(self, epoch: int, state: dict[str, Any]) -> Path:
        """Write the state after an epoch and keep the one before it.

        state: tensors, numbers, strings and containers of these. Raises CheckpointError when the
        disk refuses; earlier checkpoints are then intact.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.folder / f"epoch-{epoch:06d}-{_digest(content)}.pt"
        try:
            # One name for all, so that what a killed process left is overwritten.
            write_whole(path, content, _SCRATCH)
            self._prune(epoch, path)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path} was not written: {error.strerror or error}; free"
                f" {len(content) / 1e6:.0f} MB there or give another cache_dir. Earlier"
                " checkpoints are intact"
            ) from error
        return path

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """Epoch and state of the newest sound checkpoint; None when there is none at all.

        A damaged one is refused with a warning and the one before it taken. Raises CheckpointError
        when all are damaged.
        """
        found = self._sorted()
        for path in reversed(found):
            try:
                return _epoch(path), read_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s", error)
        if found:
            raise CheckpointError(
                f"every checkpoint in {self.folder} is damaged; remove the folder and start a"
                " new run without resume"
            )
        return None

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prune(self, epoch: int, written: Path) -> None:
        others = [path for path in self._sorted() if path != written]
        # Those of this epoch and later are damaged, or the fit would not have come back to it.
        before = [path for path in others if _epoch(path) < epoch]
        for path in others:
            if path not in before[-1:]:
                path.unlink(missing_ok=True)

    def _sorted(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State of one file, tensors and plain values only: no code is ever run.

    Raises CheckpointError when it cannot be read or its content is not what its name promises.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error.strerror or error}{_NEXT}"
        ) from error
    name = _NAME.fullmatch(path.name)
    if name is None or _digest(content) != name[2]:
        raise CheckpointError(
            f"checkpoint {path} is truncated or was changed: its content does not match the hash"
            f" in its name{_NEXT}"
        )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # Garbage makes the reader stumble in every way there is; none of them runs code.
        raise CheckpointError(
            f"checkpoint {path} holds something else than tensors and plain values{_FOREIGN}"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(state).__name__}{_FOREIGN}")
    return state


def _epoch(path: Path) -> int:
    return int(path.name.split("-")[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
