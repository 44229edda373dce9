"""Which study continues, which trials count, whose process died; the database and its lock."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState, create_trial

from landmark_ml.config import TuneConfig
from landmark_ml.tuning.study import (
    DEATHS,
    RETRY_OF,
    RUN_ID,
    StudyError,
    check_same_search,
    claim_trial,
    fail_dead_trials,
    open_storage,
    retry,
    started,
    storage_url,
    study_lock,
)
from tests.tuning.small_search import NO_PHOTOS

CONFIG = TuneConfig(study="one", label_smoothing=0.1)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def begun() -> optuna.Study:
    """A study of `CONFIG`."""
    study = optuna.create_study(study_name="one")
    check_same_search(study, CONFIG, NO_PHOTOS)
    return study


def test_the_same_search_continues_and_another_is_refused() -> None:
    check_same_search(begun(), CONFIG, NO_PHOTOS)
    # The same photos and corrections may lie elsewhere on another host.
    elsewhere = replace(CONFIG, data="/mnt/photos", taught="/mnt/new", corrections="/mnt/c.csv")
    check_same_search(begun(), elsewhere, NO_PHOTOS)
    with pytest.raises(StudyError, match=r"was started with label_smoothing 0.1; give the same"):
        check_same_search(begun(), replace(CONFIG, label_smoothing=0.2), NO_PHOTOS)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def begin(study: optuna.Study, **attributes: object) -> optuna.trial.FrozenTrial:
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))
    return study.get_trials()[-1]


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def test_a_trial_whose_process_died_before_it_was_claimed_is_retried(study: optuna.Study) -> None:
    begin(study)
    fail_dead_trials(study)
    assert states(study) == ["FAIL", "WAITING"]
    assert study.get_trials()[1].user_attrs == {RETRY_OF: 0, DEATHS: 1}


def test_a_claimed_trial_has_a_heartbeat_and_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    storage = open_storage(url, 30, retry)
    study = optuna.create_study(storage=storage)
    claim_trial(study, storage)
    with sqlalchemy.create_engine(url).connect() as connection:
        beats = connection.execute(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats"))
        assert len(beats.all()) == 1
    fail_dead_trials(study)
    assert states(study) == ["RUNNING"]


def test_a_trial_of_an_older_version_is_left_to_its_heartbeat(study: optuna.Study) -> None:
    begin(study, **{RUN_ID: "a run"})
    fail_dead_trials(study)
    assert states(study) == ["RUNNING"]


def test_a_retried_trial_keeps_the_parameters_it_was_queued_with(study: optuna.Study) -> None:
    study.enqueue_trial({"views": 3, "epochs": 7})
    trial = study.ask()
    trial.suggest_int("views", 1, 5)
    retry(study, study.tell(trial, state=TrialState.FAIL))
    again = study.ask()
    assert (again.suggest_int("views", 1, 5), again.suggest_int("epochs", 1, 90)) == (3, 7)


def test_parameters_that_kill_every_process_are_given_up(study: optuna.Study) -> None:
    for deaths in range(3):
        retry(study, begin(study, **{DEATHS: deaths}))
    assert states(study).count("WAITING") == 2
    # The last one counts as a trial, so the search can end.
    assert [trial.user_attrs[DEATHS] for trial in started(study)] == [2]


def test_a_trial_is_retried_even_if_its_run_was_deleted(
    study: optuna.Study, tracking_uri: str
) -> None:
    with mlflow.start_run() as run:
        pass
    mlflow.delete_run(run.info.run_id)
    retry(study, begin(study, **{RUN_ID: run.info.run_id}))
    assert states(study) == ["RUNNING", "WAITING"]


MLFLOW = "sqlite:////home/me/mlflow.db"


def test_without_a_storage_studies_lie_beside_the_runs() -> None:
    assert storage_url("", MLFLOW) == "sqlite:////home/me/studies.db"
    assert storage_url("", "sqlite:///mlflow.db") == "sqlite:///studies.db"
    assert storage_url("", "http://127.0.0.1:5000") == "sqlite:///studies.db"


def test_postgresql_gets_the_driver_of_the_extra() -> None:
    assert storage_url("postgresql://a@b/c", MLFLOW) == "postgresql+psycopg://a@b/c"
    assert storage_url("postgresql+psycopg2://a@b/c", MLFLOW) == "postgresql+psycopg2://a@b/c"


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("redis://cache", "is neither postgresql"),
        ("studies", "is neither postgresql"),
        (MLFLOW, "give the study a database of its own"),
    ],
)
def test_other_databases_are_refused(storage: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        storage_url(storage, MLFLOW)


def test_the_database_of_mlflow_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="give the study a database of its own") as refused:
        storage_url("postgresql://a@db/runs", "postgresql://b:secret@db/runs")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "storage", ["postgresql://a@db/studies", "postgresql://a@db:5433/runs", "postgresql://a@b/runs"]
)
def test_another_database_beside_that_of_mlflow_is_taken(storage: str) -> None:
    assert storage_url(storage, "postgresql://a@db/runs").startswith("postgresql+psycopg://")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="neither") as refused:
        storage_url("mysql://me:secret@host/studies", MLFLOW)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_a_sentence(psycopg: Any) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/studies"
    with pytest.raises(ValueError, match="cannot be used") as refused:
        open_storage(url, 30, lambda *_: None)
    assert "secret" not in str(refused.value)


def test_a_study_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    order: list[str] = []

    def second() -> None:
        with study_lock(url, "one"):
            order.append("second")

    with study_lock(url, "one"):
        thread = threading.Thread(target=second)
        thread.start()
        with study_lock(url, "other"):
            order.append("other")
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["other", "first", "second"]


@pytest.fixture
def psycopg() -> Any:
    return pytest.importorskip("psycopg", reason="needs pip install -e '.[postgres]'")
