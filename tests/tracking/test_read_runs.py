"""What is read back from MLflow: which runs count, what they hold, models and manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from landmark_ml.config import DataConfig
from landmark_ml.data import LARGE_MANIFEST, MANIFEST, Dataset, Photo, read_rows
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.errors import shown_tracking_uri
from landmark_ml.tracking.read_runs import fetch_manifest, fetch_model, read_evaluated_runs
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from tests.colour_artifact import log_artifact
from tests.synthetic_runs import MINUTE, STARTED, log_run, make_answers, make_run

CORRECT = [True, True, False, True]
pytestmark = pytest.mark.usefixtures("tracking_uri")


def names(runs: Sequence[object]) -> list[str]:
    return [str(getattr(run, "name", "")) for run in runs]


def test_a_run_comes_back_as_it_was_logged() -> None:
    logged = make_run("back", CORRECT)
    run_id = log_run("back", logged)
    read = read_evaluated_runs("back")
    (run,) = read.runs
    assert (read.left_out, read.caution) == ((), "")
    assert (run.run_id, run.name, run.started) == (run_id, "back", STARTED)
    assert (run.recipe, run.backbone, run.test_digest) == ("transfer", "tiny", "d1")
    assert (run.parameters, run.macs, run.artifact_bytes) == (3.4e6, 384e6, 13.9e6)
    assert run.metric("test/top1") == 0.75
    pd.testing.assert_frame_equal(run.answers, logged.answers, check_dtype=False)
    assert run.answers["correct"].dtype == bool


def test_landmarks_with_odd_names_stay_landmarks() -> None:
    answers = make_answers(CORRECT).assign(label=["NA", "None", "1", "a,b"])
    log_run("odd", make_run("odd", CORRECT, answers=answers))
    (run,) = read_evaluated_runs("odd").runs
    assert run.answers["label"].tolist() == ["NA", "None", "1", "a,b"]


def test_only_finished_runs_with_test_metrics_count() -> None:
    log_run("mixed", make_run("done", CORRECT))
    log_run("mixed", make_run("failed", CORRECT), status="FAILED")
    log_run("mixed", make_run("going", CORRECT), status="RUNNING")
    log_run("mixed", make_run("untested", CORRECT, metrics={"val/top1": 0.9}))
    read = read_evaluated_runs("mixed")
    assert (names(read.runs), read.left_out) == (["done"], ())


def test_of_many_runs_the_newest_are_read_with_a_caution() -> None:
    for age in range(3):
        right = [number < 4 + age for number in range(8)]
        log_run("many", make_run(f"age-{age}", right, started=STARTED - age * MINUTE))
    newest = read_evaluated_runs("many", most=2)
    assert names(newest.runs) == ["age-0", "age-1"]
    assert "only the newest 2 were read: raise most" in newest.caution
    assert read_evaluated_runs("many", most=3).caution == ""


def test_no_more_runs_are_fetched_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for age in range(5):
        log_run("fetched", make_run(f"age-{age}", CORRECT, started=STARTED - age * MINUTE))
    fetched: list[str] = []
    search = mlflow.search_runs

    def count(**asked: Any) -> list[Run]:
        found: list[Run] = search(**asked)
        fetched.extend(run.info.run_id for run in found)
        return found

    monkeypatch.setattr(mlflow, "search_runs", count)
    read_evaluated_runs("fetched", most=2)
    assert len(fetched) == 3


def test_a_search_string_narrows_the_runs() -> None:
    log_run("searched", make_run("a", CORRECT, recipe="scratch"))
    log_run("searched", make_run("b", CORRECT, recipe="transfer"))
    assert names(read_evaluated_runs("searched", "tags.recipe = 'scratch'").runs) == ["a"]
    with pytest.raises(ValueError, match="no finished run with test metrics that meets"):
        read_evaluated_runs("searched", "tags.recipe = 'other'")


@pytest.mark.parametrize(
    "answers", ["", "sha256,label\nab,Petra\n", "sha256,label,correct\nab,Petra,perhaps\n"]
)
def test_a_run_with_unreadable_answers_is_left_out(answers: str) -> None:
    name = f"damaged-{len(answers)}"
    log_run(name, make_run("damaged", CORRECT), answers=answers)
    log_run(name, make_run("whole", CORRECT))
    read = read_evaluated_runs(name)
    assert (names(read.runs), names(read.left_out)) == (["whole"], ["damaged"])
    assert "its test_answers cannot be read" in read.left_out[0].reason


def test_a_run_whose_answers_are_gone_is_left_out() -> None:
    run_id = log_run("gone", make_run("gone", CORRECT))
    Path(mlflow.get_run(run_id).info.artifact_uri, "test_answers.csv").unlink()
    read = read_evaluated_runs("gone")
    assert (read.runs, names(read.left_out)) == ((), ["gone"])


def test_answers_to_many_photos_come_back_from_parquet() -> None:
    logged = make_run("large", CORRECT * 2501)
    run_id = log_run("large", logged)
    Path(mlflow.get_run(run_id).info.artifact_uri, "test_answers.csv").unlink()
    mlflow.set_experiment("large")
    with mlflow.start_run(run_id=run_id):
        tracking.Run(run_id).log_table(logged.answers, "test_answers")
    (run,) = read_evaluated_runs("large").runs
    pd.testing.assert_frame_equal(run.answers, logged.answers, check_dtype=False)


def test_an_unknown_experiment_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no experiment 'nowhere' .* there are: .*Default"):
        read_evaluated_runs("nowhere")


def test_an_experiment_without_runs_is_refused() -> None:
    mlflow.create_experiment("empty")
    with pytest.raises(ValueError, match="'empty' holds no finished run with test metrics; train"):
        read_evaluated_runs("empty")


def test_an_invalid_search_string_is_refused() -> None:
    log_run("filtered", make_run("a", CORRECT))
    with pytest.raises(ValueError, match="'best ones' is not an MLflow search string"):
        read_evaluated_runs("filtered", "best ones")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://mlflow:secret@db.example/runs", "postgresql://db.example/runs"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_the_address_is_shown_without_its_password(
    address: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: address)
    assert shown_tracking_uri() == shown


@pytest.fixture
def run_id(tracking_uri: str) -> str:
    """Run that recorded nothing yet."""
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(DEFAULT_EXPERIMENT)
    assert experiment is not None
    return str(client.create_run(experiment.experiment_id).info.run_id)


@pytest.mark.parametrize("name", [MANIFEST, LARGE_MANIFEST])
def test_the_manifest_of_a_run_is_copied(run_id: str, tmp_path: Path, name: str) -> None:
    mlflow.MlflowClient().log_text(run_id, "{}", name)
    found = fetch_manifest(run_id, tmp_path)
    assert found is not None
    assert found.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("most_json", [1, 2])
def test_the_manifest_of_many_photos_is_parquet(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_json: int
) -> None:
    assert tracking_uri
    monkeypatch.setattr(tracking, "MOST_JSON", most_json)
    photos = tuple(Photo(tmp_path / f"{n}.jpg", 0, str(n), 9, 9) for n in range(2))
    with tracking.start_run(DataConfig(), "photos", {"kind": "data"}) as run:
        run.log_manifest(Dataset("photos", tmp_path, ("Mill",), photos, (), ()))
    found = fetch_manifest(run.run_id, tmp_path)
    assert found is not None
    assert found.suffix == (".json" if most_json == 2 else ".parquet")
    assert read_rows(found.read_bytes(), "it")[1]["sha256"].to_pylist() == ["0", "1"]


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
