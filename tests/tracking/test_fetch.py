"""What a run trained on is read back, or known to be unrecorded; an outage is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from landmark_ml.data import MANIFEST
from landmark_ml.tracking.read_runs import fetch_manifest, fetch_model
from tests.colour_artifact import log_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models.model import ModelInfo


@pytest.fixture
def run_id(tracking_uri: str) -> str:
    """Run that recorded nothing yet."""
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("landmarks")
    assert experiment is not None
    return str(client.create_run(experiment.experiment_id).info.run_id)


def test_the_manifest_of_a_run_is_copied(run_id: str, tmp_path: Path) -> None:
    mlflow.MlflowClient().log_text(run_id, "{}", MANIFEST)
    found = fetch_manifest(run_id, tmp_path)
    assert found is not None
    assert found.read_text(encoding="utf-8") == "{}"


def test_a_run_without_one_and_an_unknown_run_have_none(run_id: str, tmp_path: Path) -> None:
    for asked in (run_id, "0" * 32, None):
        assert fetch_manifest(asked, tmp_path) is None


@pytest.mark.parametrize(
    "outage", [MlflowException("503", TEMPORARILY_UNAVAILABLE), PermissionError("403")]
)
@pytest.mark.parametrize("asked", ["list_artifacts", "download_artifacts"])
def test_an_outage_is_not_taken_for_a_run_without_one(
    run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage: Exception, asked: str
) -> None:
    mlflow.MlflowClient().log_text(run_id, "{}", MANIFEST)

    def fail(*_: object, **__: object) -> None:
        raise outage

    place = mlflow.MlflowClient if asked == "list_artifacts" else mlflow.artifacts
    monkeypatch.setattr(place, asked, fail)
    with pytest.raises(type(outage), match=str(outage)):
        fetch_manifest(run_id, tmp_path)


def test_a_model_comes_from_one_run_though_its_alias_moves(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, name = mlflow.MlflowClient(), "moved_meanwhile"
    first: ModelInfo = log_artifact(tracking_uri)
    second: ModelInfo = log_artifact.__wrapped__(tracking_uri)
    for version, logged in (("1", first), ("2", second)):
        mlflow.register_model(f"models:/{logged.model_id}", name)
        client.set_registered_model_alias(name, "champion", version)
    client.set_registered_model_alias(name, "champion", "1")
    download = mlflow.artifacts.download_artifacts

    def promoted_meanwhile(**asked: str) -> str:
        folder = download(**asked)
        client.set_registered_model_alias(name, "champion", "2")
        return str(folder)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", promoted_meanwhile)
    found = fetch_model(f"models:/{name}@champion", tmp_path)
    assert (found.run_id, found.model_id) == (first.run_id, first.model_id)
