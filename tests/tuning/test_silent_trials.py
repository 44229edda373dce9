"""Trials whose process died before its first sign of life, whatever the clock of its host said."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import mlflow
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from landmark_ml.tuning.study import DEATHS, RETRY_OF, RUN_ID, SilentTrials, retry, started

if TYPE_CHECKING:
    from optuna.study import Study

GRACE = 60.0


@pytest.fixture
def study() -> Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study()


def begin(study: Study, hours: float, **signs: str) -> None:
    """A trial that began just now on a host whose clock is so many hours ahead."""
    trial = create_trial(state=TrialState.RUNNING, user_attrs=signs)
    trial.datetime_start = datetime.now() + timedelta(hours=hours)
    study.add_trial(trial)


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


@pytest.mark.parametrize("hours", [-9, 0, 9])
def test_a_silent_trial_is_given_its_time_and_no_more(
    study: Study, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    silent = SilentTrials(GRACE)
    begin(study, hours)
    silent.fail(study)
    assert states(study) == ["RUNNING"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + GRACE + 1)
    silent.fail(study)
    assert states(study) == ["FAIL", "WAITING"]
    assert study.get_trials()[1].user_attrs == {RETRY_OF: 0, DEATHS: 1}


def test_a_trial_that_gave_a_sign_of_life_is_left_to_its_heartbeat(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = SilentTrials(GRACE)
    begin(study, 0, **{RUN_ID: "a run"})
    silent.fail(study)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + GRACE + 1)
    silent.fail(study)
    assert states(study) == ["RUNNING"]


def test_parameters_that_end_every_process_are_given_up(study: Study) -> None:
    for deaths in range(3):
        trial = create_trial(state=TrialState.RUNNING, user_attrs={DEATHS: deaths})
        study.add_trial(trial)
        retry(study, study.get_trials()[-1])
    assert states(study).count("WAITING") == 2
    # The last one counts as a trial, so that the search comes to its end.
    assert [trial.user_attrs[DEATHS] for trial in started(study)] == [2]


def test_a_run_that_was_deleted_does_not_lose_the_retry(study: Study, tracking_uri: str) -> None:
    with mlflow.start_run() as run:
        pass
    mlflow.delete_run(run.info.run_id)
    begin(study, 0, **{RUN_ID: run.info.run_id})
    retry(study, study.get_trials()[0])
    assert states(study) == ["RUNNING", "WAITING"]
