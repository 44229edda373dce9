"""Checkpoints that survive a crash, and the proof that a resumed run is the same run.

A checkpoint is written whole and checked by its content; the last two are kept. The head phase
takes seconds on cached features and is repeated; fine-tuning resumes after its last finished epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from landmark_ml.config import TrainConfig
from landmark_ml.files import make_cache, write_whole

logger = logging.getLogger(__name__)

_NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message names the file and the fix."""


class ResumeError(ValueError):
    """A run that cannot be resumed; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in a folder, named by epoch and a hash of their content.

    Only one process at a time may save to a folder.
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
            # One scratch name, so that the next save overwrites what a killed process left.
            write_whole(path, content, "next.tmp")
            others = [other for other in self._sorted() if other != path]
            # Those of this epoch and later are damaged, or the fit would not have repeated it.
            before = [other for other in others if _epoch(other) < epoch]
            for other in others:
                if other not in before[-1:]:
                    other.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path} was not written: {error.strerror or error}; free"
                f" {len(content) / 1e6:.0f} MB there or give another cache_dir. Earlier"
                " checkpoints are intact"
            ) from error
        return path

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """Epoch and state of the newest sound checkpoint; None when there is none at all.

        A damaged one is skipped with a warning. Raises CheckpointError when all are damaged.
        """
        found = self._sorted()
        for path in reversed(found):
            try:
                return _epoch(path), read_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s; the one before it is used if there is one", error)
        if found:
            raise CheckpointError(
                f"every checkpoint in {self.folder} is damaged; remove the folder and start a"
                " new run without resume"
            )
        return None

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sorted(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State of one file, tensors and plain values only: no code is ever run.

    Raises CheckpointError when it cannot be read or its content does not match its name.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error.strerror or error}"
        ) from error
    name = _NAME.fullmatch(path.name)
    if name is None or _digest(content) != name[2]:
        raise CheckpointError(
            f"checkpoint {path} is truncated or was changed: its content does not match the hash"
            " in its name"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


@dataclass
class RunSaver:
    """Saves a fit after each epoch, together with the history of its run.

    manifest: digest of the photos and their splits. started: `time.perf_counter()` when the run
    began, earlier sessions included. state: what the fit resumes from, None for a new one.
    """

    checkpoints: Checkpoints
    manifest: str
    started: float
    history: list[dict[str, float]] = field(default_factory=list)
    state: dict[str, Any] | None = None

    def restore(self) -> dict[str, Any] | None:
        """State to resume from; given out once, so that it does not stay in memory."""
        state, self.state = self.state, None
        return state

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch."""
        run = {
            "history": self.history,
            "manifest": self.manifest,
            "run_id": self.checkpoints.folder.name,
            "seconds": time.perf_counter() - self.started,
        }
        self.checkpoints.save(epoch, state | run)


def open_saver(checkpoints: Checkpoints, manifest: str, started: float) -> RunSaver:
    """Saver of a run, with its newest sound checkpoint and history where there is one.

    Raises ResumeError when the photos or splits changed since the run began, CheckpointError when
    every checkpoint is damaged.
    """
    saver = RunSaver(checkpoints, manifest, started)
    found = checkpoints.load()
    if found is None:
        return saver
    epoch, state = found
    if state["manifest"] != manifest:
        raise ResumeError(
            f"the photos changed since the run began: manifest {state['manifest']} then,"
            f" {manifest} now; bring them back, or start a new run without resume"
        )
    logger.info("resuming after %d epochs of fine-tuning", epoch + 1)
    saver.state, saver.history = state, state["history"]
    saver.started -= state["seconds"]
    return saver


def config_digest(config: TrainConfig) -> str:
    """Identity of what is trained: equal for a run and for the command that resumes it."""
    # A batch is that of all processes together, so their number changes nothing that is learnt.
    ignored = ("resume", "processes")
    # Defaults are left out: a field that a later version adds must not make it another run.
    values = {
        name: value
        for name, value in asdict(config).items()
        if name not in ignored and value != getattr(type(config), name)
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def checkpoint_folder(cache: Path, run_id: str) -> Path:
    """Folder of a run's checkpoints; it exists from the start of the run to its end."""
    return cache / "checkpoints" / run_id


def began_here(cache: Path, run_id: str) -> bool:
    """Whether an unfinished run was trained with this cache folder."""
    return checkpoint_folder(cache, run_id).is_dir()


@contextlib.contextmanager
def hold_run(cache: Path, run_id: str) -> Iterator[Checkpoints]:
    """Checkpoints of a run, locked for this process.

    Raises ResumeError when another process is still training the run, ValueError when the cache
    folder cannot be made.
    """
    folder = checkpoint_folder(cache, run_id)
    make_cache(folder)
    lock = FileLock(folder / "held.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResumeError(
            f"run {run_id} is being trained by another process; wait for it or stop it first"
        ) from None
    try:
        yield Checkpoints(folder)
    finally:
        lock.release()


def _epoch(path: Path) -> int:
    return int(path.name.split("-")[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
