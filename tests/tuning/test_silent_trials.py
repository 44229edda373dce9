"""Trials whose process died before its first sign of life, whatever the clock of its host said."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from landmark_ml.tuning.study import RETRY_OF, RUN_ID, SilentTrials

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
    assert study.get_trials()[1].user_attrs == {RETRY_OF: 0}


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
