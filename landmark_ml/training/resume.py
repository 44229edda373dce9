"""Going on with an interrupted run: its checkpoints, its history and the proof that it is the same.

The head phase takes seconds on cached features and is repeated; fine-tuning goes on after its last
finished epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from landmark_ml.config import default_of
from landmark_ml.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from landmark_ml.config import TrainConfig

logger = logging.getLogger(__name__)


class ResumeError(ValueError):
    """A run that cannot be gone on with; the message says why and what to do."""


@dataclass
class RunSaver:
    """Saves a fit after each epoch beside the history of its run; see `engine.EpochSaver`.

    started: `time.perf_counter()` when the run began, earlier sessions of it included. state: what
    the fit goes on from, None for a new one.
    """

    checkpoints: Checkpoints
    manifest: str
    started: float
    history: list[dict[str, float]] = field(default_factory=list)
    state: dict[str, Any] | None = None

    def restore(self) -> dict[str, Any] | None:
        """State to go on from; it is handed out once, so that it does not fill memory."""
        state, self.state = self.state, None
        return state

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write a checkpoint of an epoch."""
        run = {
            "history": self.history,
            "manifest": self.manifest,
            "run_id": self.checkpoints.folder.name,
            "seconds": time.perf_counter() - self.started,
        }
        self.checkpoints.save(epoch, state | run)


def open_saver(checkpoints: Checkpoints, manifest: str, started: float) -> RunSaver:
    """Saver of a run; it holds the newest sound checkpoint and its history where there is one.

    manifest: digest of the photos and their sides. Raises ResumeError when they are no longer those
    the run began with, CheckpointError when every checkpoint is damaged.
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
    logger.info("going on after %d epochs of fine-tuning", epoch + 1)
    saver.state, saver.history = state, state["history"]
    saver.started -= state["seconds"]
    return saver


def config_digest(config: TrainConfig) -> str:
    """Identity of what is trained: equal for a run and for the command that goes on with it."""
    # The batch is that of all processes together, so their number changes nothing that is learnt.
    ways = ("resume", "processes")
    # Defaults are left out: a field that a later version adds does not make another run of it.
    values = {
        name: value
        for name, value in asdict(config).items()
        if name not in ways and value != default_of(type(config), name)
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def checkpoint_folder(cache: Path, run_id: str) -> Path:
    """Where the checkpoints of a run lie; it is there from the beginning of the run to its end."""
    return cache / "checkpoints" / run_id


def began_here(cache: Path, run_id: str) -> bool:
    """Whether a run that has not finished was trained with this folder of caches."""
    return checkpoint_folder(cache, run_id).is_dir()


@contextlib.contextmanager
def hold_run(cache: Path, run_id: str) -> Iterator[Checkpoints]:
    """Checkpoints of a run, held by this process alone.

    Raises ResumeError when another process is still training the run.
    """
    folder = checkpoint_folder(cache, run_id)
    folder.mkdir(parents=True, exist_ok=True)
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
