"""Logged models read back from MLflow: their folder, their run and what that was trained on."""

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
    """A model of MLflow: what it is called, where its copy lies, and where it comes from.

    model_id, run_id: None when MLflow does not know them.
    """

    uri: str
    folder: Path
    model_id: str | None
    run_id: str | None


def fetch_model(uri: str, scratch: Path) -> LoggedModel:
    """Copy the files of a model such as `models:/landmarks/7` under an existing folder.

    Raises ValueError when there is no such model.
    """
    try:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch))
        # Of what was copied: asked for by its alias again, the champion may be another by now.
        info = mlflow.models.get_model_info(folder)
    except (MlflowException, OSError) as error:
        raise ValueError(
            f"model {uri!r} cannot be read from {shown_tracking_uri()} ({error}); give one"
            " like models:/landmarks/7 or models:/landmarks@champion"
        ) from None
    return LoggedModel(uri, Path(folder), info.model_id, info.run_id)


def fetch_manifest(run_id: str | None, scratch: Path) -> Path | None:
    """Copy the split manifest of a run; None when it left none, or MLflow knows no such run.

    Raises MlflowException or OSError when the run cannot be asked: which photos it trained on is
    then unknown, and a model must not be judged as if it had trained on none.
    """
    if not run_id or MANIFEST not in _artifacts(run_id):
        return None
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=MANIFEST, dst_path=str(scratch)
        )
    )


def _artifacts(run_id: str) -> set[str]:
    try:
        return {item.path for item in mlflow.MlflowClient().list_artifacts(run_id)}
    except MlflowException as error:
        if not is_not_there(error):
            raise
        return set()
