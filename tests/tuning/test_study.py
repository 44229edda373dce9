"""Which study continues, which trials count, and what happens to trials whose process died."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = TuneConfig(study="one", label_smoothing=0.1)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def begun(without: str = "") -> optuna.Study:
    """A study of `CONFIG`; without: a field that the version that started it did not have."""
    study = optuna.create_study(study_name="one")
    check_same_search(study, CONFIG, [])
    searched = study.user_attrs["searched"]
    study.set_user_attr("searched", {k: v for k, v in searched.items() if k != without})
    return study


def test_the_same_search_continues_and_another_is_refused() -> None:
    check_same_search(begun(), CONFIG, [])
    with pytest.raises(StudyError, match=r"was started with label_smoothing 0.1; give the same"):
        check_same_search(begun(), replace(CONFIG, label_smoothing=0.2), [])


def test_a_study_from_before_a_field_was_added_continues() -> None:
    check_same_search(begun(without="val_interval"), CONFIG, [])
    # It searched with the default of the field.
    with pytest.raises(StudyError, match="was started with val_interval 1; give the same"):
        check_same_search(begun(without="val_interval"), replace(CONFIG, val_interval=2), [])


def test_a_study_with_a_removed_field_is_refused_with_its_value() -> None:
    study = begun()
    study.set_user_attr("searched", study.user_attrs["searched"] | {"cooling": 0.5})
    with pytest.raises(StudyError, match=r"another version of this project, with cooling 0\.5, "):
        check_same_search(study, CONFIG, [])


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
