"""A version of a model, judged on the test photos and inspected for what the gates check."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.artifacts
from mlflow.exceptions import MlflowException

from landmark_ml.evaluation.judge import Report, judge, learned_hashes
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.tracking.fetch import fetch_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion

    from landmark_ml.data import Dataset
    from landmark_ml.evaluation.judge import Predictions
    from landmark_ml.geo.gazetteer import Gazetteer

logger = logging.getLogger(__name__)

_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))


@dataclass(frozen=True, eq=False)
class Judged:
    """A version with the report on its answers.

    megabytes: 10^6 bytes of the logged model. pickles: files in it that look like pickles.
    seen: test photos that it was trained on or chosen by, None when its run does not say. problem:
    why it could not be judged; report is then None.
    """

    version: int
    run_id: str
    report: Report | None
    megabytes: float = 0.0
    pickles: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    seen: int | None = None
    problem: str = ""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the report; empty without one."""
        return self.report.metrics if self.report else {}

    @property
    def predictions(self) -> Predictions | None:
        """Answers of the report; None without one."""
        return self.report.predictions if self.report else None


def judge_version(
    version: ModelVersion, dataset: Dataset, gazetteer: Gazetteer, threads: int = 0
) -> Judged:
    """Load a version without pickle and judge it on the test photos.

    threads: cores that it keeps busy; 0: all. One that cannot be fetched or loaded, or that answers
    in another form than ours, comes back with its problem, so that the others are still judged.
    """
    report, problem, run_id = None, "", version.run_id or ""
    contents: tuple[float, tuple[str, ...], tuple[str, ...]] = (0.0, (), ())
    with tempfile.TemporaryDirectory(prefix="judged-") as folder:
        scratch = Path(folder)
        learned = learned_hashes(fetch_manifest(run_id, scratch))
        uri = f"models:/{version.name}/{version.version}"
        try:
            logged = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
            contents = _look_into(logged)
            with open_served(logged, scratch, threads, allow_pickle=False) as model:
                report = judge(model, dataset.test, dataset.classes, gazetteer)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            problem = f"it answers in another form than a landmark model ({error!r})"
        except (MlflowException, OSError, ValueError) as error:
            problem = str(error) or repr(error)
        if problem:
            logger.warning("version %s cannot be judged: %s", version.version, problem)
    seen = None if learned is None else sum(photo.sha256 in learned for photo in dataset.test)
    return Judged(int(version.version), run_id, report, *contents, seen, problem)


def _look_into(folder: Path) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Megabytes, files that look like pickles, and requirements of a logged model."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    listed = folder / "requirements.txt"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return (
        sum(path.stat().st_size for path in files) / 1e6,
        tuple(str(path.relative_to(folder)) for path in files if _is_pickle(path)),
        tuple(line.strip() for line in lines if line.strip() and not line.startswith("#")),
    )


def _is_pickle(path: Path) -> bool:
    if path.suffix in _PICKLES:
        return True
    with path.open("rb") as file:
        return file.read(2) in _PICKLE_STARTS
