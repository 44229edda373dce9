"""What is known of a version once it was loaded, asked about every test photo and looked into."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.artifacts
from mlflow.exceptions import MlflowException

from landmark_ml.data import MANIFEST
from landmark_ml.evaluation.held_out import learned_hashes
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.evaluation.predictions import Evaluation, evaluate_served, summarize
from landmark_ml.tracking.fetch import fetch_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlflow.entities.model_registry import ModelVersion

    from landmark_ml.data import Dataset

logger = logging.getLogger(__name__)

_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_NO_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


@dataclass(frozen=True, eq=False)
class Judged:
    """A version with its answers; metrics by name as `summarize` gives them.

    megabytes: 10^6 bytes of the logged model. pickles: files in it that look like pickles.
    seen: test photos that stood in its training or validation photos, None when its run does not
    say. problem: why it could not be judged; evaluation is then None and metrics are empty.
    """

    version: int
    run_id: str
    evaluation: Evaluation | None
    metrics: Mapping[str, float]
    megabytes: float
    pickles: tuple[str, ...]
    requirements: tuple[str, ...]
    seen: int | None
    problem: str = ""


@dataclass(frozen=True)
class _Contents:
    """What the files of a logged model tell; nothing when they are not there."""

    megabytes: float = 0.0
    pickles: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


def judge_version(
    version: ModelVersion, dataset: Dataset, names: Sequence[str], threads: int = 0
) -> Judged:
    """Load a version without pickle and ask it about the test photos, as a client would.

    threads: cores that it keeps busy; 0: all. One that cannot be fetched or loaded, or that answers
    in another form than ours, comes back with its problem, for the others to be judged.
    """
    evaluation, problem, contents = None, "", _Contents()
    with tempfile.TemporaryDirectory(prefix="judged-") as scratch:
        uri = f"models:/{version.name}/{version.version}"
        try:
            folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
            contents = _look_into(folder)
            with _without_pickle(), open_served(folder, Path(scratch), threads) as model:
                evaluation = evaluate_served(model, dataset.test, dataset.classes, names)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            problem = f"it answers in another form than a landmark model ({error!r})"
        except (MlflowException, OSError, ValueError) as error:
            problem = str(error) or repr(error)
        if problem:
            logger.warning("version %s cannot be judged: %s", version.version, problem)
    return Judged(
        version=int(version.version),
        run_id=version.run_id or "",
        evaluation=evaluation,
        metrics=summarize(evaluation) if evaluation else {},
        megabytes=contents.megabytes,
        pickles=contents.pickles,
        requirements=contents.requirements,
        seen=_count_seen(version.run_id or "", dataset),
        problem=problem,
    )


def _look_into(folder: Path) -> _Contents:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return _Contents(
        sum(path.stat().st_size for path in files) / 1e6,
        tuple(str(path.relative_to(folder)) for path in files if _is_pickle(path)),
        _read_requirements(folder / "requirements.txt"),
    )


@contextmanager
def _without_pickle() -> Iterator[None]:
    before = os.environ.get(_NO_PICKLE)
    os.environ[_NO_PICKLE] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_PICKLE]
        else:
            os.environ[_NO_PICKLE] = before


def _is_pickle(path: Path) -> bool:
    if path.suffix in _PICKLES:
        return True
    with path.open("rb") as file:
        return file.read(2) in _PICKLE_STARTS


def _read_requirements(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _count_seen(run_id: str, dataset: Dataset) -> int | None:
    """Test photos that the run had among those it learned from, by their content."""
    with tempfile.TemporaryDirectory() as scratch:
        manifest = fetch_manifest(run_id, Path(scratch))
        if manifest is None:
            logger.warning("run %s left no %s: its training photos are unknown", run_id, MANIFEST)
            return None
        try:
            learned = learned_hashes(manifest)
        except (ValueError, KeyError) as error:
            logger.warning("the %s of run %s is damaged: %r", MANIFEST, run_id, error)
            return None
    return sum(photo.sha256 in learned for photo in dataset.test)
