"""Going on with an interrupted run: its checkpoints, its history and the proof that it is the same.

The head phase takes seconds on cached features and is repeated; fine-tuning goes on after its last
finished epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from landmark_ml.checkpoint import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from landmark_ml.config import TrainConfig

logger = logging.getLogger(__name__)


class ResumeError(ValueError):
    """A run that cannot be gone on with; the message says why and what to do."""


@dataclass
class RunSaver:
    """Saves a fit after each epoch beside the history of its run; see `engine.EpochSaver`."""

    checkpoints: Checkpoints
    history: list[dict[str, float]]
    manifest: str

    def restore(self) -> dict[str, Any] | None:
        """State of the newest sound checkpoint, its history taken over.

        Raises ResumeError when the photos are no longer those the run was split on.
        """
        found = self.checkpoints.load()
        if found is None:
            return None
        epoch, state = found
        if state["manifest"] != self.manifest:
            raise ResumeError(
                f"the photos changed since the run began: manifest {state['manifest']} then,"
                f" {self.manifest} now; bring them back, or start a new run without resume"
            )
        self.history[:] = state["history"]
        logger.info("going on after epoch %d of fine-tuning", epoch)
        return state

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write a checkpoint of an epoch."""
        self.checkpoints.save(epoch, state | {"history": self.history, "manifest": self.manifest})


def config_digest(config: TrainConfig) -> str:
    """Identity of what is trained: equal for a run and for the command that goes on with it."""
    values = {name: value for name, value in asdict(config).items() if name != "resume"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def hold_run(cache: Path, run_id: str) -> Iterator[Checkpoints]:
    """Checkpoints of a run, held by this process alone and removed when the run is finished.

    Raises ResumeError when another process is still training the run.
    """
    folder = cache / "checkpoints" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResumeError(
            f"run {run_id} is being trained by another process; wait for it or stop it first"
        ) from None
    try:
        yield Checkpoints(folder)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()
