"""An MLflow that fails for a moment under a search: no trial that was trained is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from landmark_ml.training.devices import one_thread
from landmark_ml.tuning import run_tuning
from landmark_ml.tuning.trials import TrialRunner
from tests.mlflow_out import fail
from tests.tuning.small_search import children_of, load_study, parent_of, small_search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from landmark_ml.config import TuneConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tracking_uri")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def config(tmp_path: Path) -> TuneConfig:
    return small_search(tmp_path, study=tmp_path.name, trials=3, epochs=2)


def failing_once(name: str, when: Callable[..., bool]) -> Callable[..., object]:
    """A method of the client that is out the first time it is called so."""
    method = getattr(mlflow.MlflowClient, name)
    left = [1]

    def call(self: mlflow.MlflowClient, *arguments: object, **named: object) -> object:
        if left and when(*arguments, **named):
            left.pop()
            fail()
        return method(self, *arguments, **named)

    return call


def is_of_a_trial(*_: object, **named: object) -> bool:
    return str(named.get("run_name", "")).startswith("trial-")


def states(config: TuneConfig) -> list[str]:
    return [trial.state.name for trial in load_study(config).trials]


def test_a_trial_whose_run_is_not_closed_counts(
    config: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mlflow.MlflowClient, "set_terminated", failing_once("set_terminated", lambda *_: True)
    )
    assert run_tuning(config).counts == {"complete": 3}
    runs = children_of(parent_of(load_study(config)))
    assert [run.info.status for run in runs] == ["RUNNING", "FINISHED", "FINISHED"]


def test_a_trial_that_cannot_be_recorded_ends_the_search_and_is_left_to_the_next(
    config: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        out = failing_once("create_run", is_of_a_trial)
        patch.setattr(mlflow.MlflowClient, "create_run", out)
        with pytest.raises(MlflowException, match="503"):
            run_tuning(config)
    assert states(config) == ["FAIL", "WAITING"]
    assert parent_of(load_study(config)).info.status == "FAILED"
    assert run_tuning(config).counts == {"complete": 3}
    first, again, *_ = load_study(config).trials
    assert first.params == again.params


def test_ctrl_c_ends_the_search_though_the_run_is_not_closed(
    config: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrialRunner, "run", interrupt)
    monkeypatch.setattr(
        mlflow.MlflowClient, "set_terminated", failing_once("set_terminated", lambda *_: True)
    )
    with pytest.raises(KeyboardInterrupt):
        run_tuning(config)
    assert states(config) == ["FAIL", "WAITING"]
