"""Read logged models and the splits of their runs back from MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.artifacts
import mlflow.models
from mlflow.exceptions import MlflowException

from landmark_ml.data import MANIFEST
from landmark_ml.tracking.errors import is_not_there, shown_tracking_uri


@dataclass(frozen=True)
class LoggedModel:
    """A copy of a model and where it comes from; model_id, run_id: None when MLflow has none."""

    uri: str
    folder: Path
    model_id: str | None
    run_id: str | None


def fetch_model(uri: str, scratch: Path) -> LoggedModel:
    """Copy the files of a model such as `models:/landmarks/7` into an existing folder.

    Raises ValueError when there is no such model.
    """
    try:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch))
        # Read from the copy: by now the alias may name another model.
        info = mlflow.models.get_model_info(folder)
    except (MlflowException, OSError) as error:
        raise ValueError(
            f"model {uri!r} cannot be read from {shown_tracking_uri()} ({error}); give one"
            " like models:/landmarks/7 or models:/landmarks@champion"
        ) from None
    return LoggedModel(uri, Path(folder), info.model_id, info.run_id)


def fetch_manifest(run_id: str | None, scratch: Path) -> Path | None:
    """Copy the split manifest of a run; None when MLflow has no such run or it logged none.

    Raises MlflowException or OSError when MLflow does not answer: a model must not be judged as if
    it had trained on no photos.
    """
    if not run_id:
        return None
    try:
        logged = {item.path for item in mlflow.MlflowClient().list_artifacts(run_id)}
    except MlflowException as error:
        if not is_not_there(error):
            raise
        return None
    if MANIFEST not in logged:
        return None
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=MANIFEST, dst_path=str(scratch)
        )
    )
