"""A search leaves a parent run, a child per trial and a tested challenger, whatever fails."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from optuna import Trial
from optuna.trial import TrialState

from landmark_ml.config import TrainConfig, TuneConfig
from landmark_ml.training.checkpoint import checkpoint_folder
from landmark_ml.training.devices import one_thread
from landmark_ml.tuning import TuneResult, run_tuning, search, suggest_config
from landmark_ml.tuning import worker as worker_module
from landmark_ml.tuning.recording import StudyRun
from landmark_ml.tuning.study import StudyError, retry
from landmark_ml.tuning.worker import TrialRunner
from tests.mlflow_out import fail
from tests.tuning.small_search import children_of, load_study, parent_of, small_search

pytestmark = pytest.mark.slow

BROKEN_TRIAL = 2


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tracking_uri: str) -> TuneConfig:
    folder = tmp_path_factory.mktemp("search")
    return small_search(folder, study="whole", trials=4, model="tuned")


@pytest.fixture(scope="module")
def result(config: TuneConfig) -> TuneResult:
    """A search whose third trial raises."""

    def broken(trial: Trial, base: TuneConfig) -> TrainConfig:
        suggested = suggest_config(trial, base)
        number = trial.number
        return replace(suggested, data="nowhere") if number == BROKEN_TRIAL else suggested

    with pytest.MonkeyPatch.context() as patch:
        run_trial = TrialRunner.run

        def run(self: TrialRunner, trained: TrainConfig, *rest: object) -> object:
            if trained.data == "nowhere":
                raise RuntimeError("out of memory")
            return run_trial(self, trained, *rest)  # type: ignore[arg-type]

        patch.setattr(worker_module, "suggest_config", broken)
        patch.setattr(TrialRunner, "run", run)
        return run_tuning(config)


def artifact(result: TuneResult, config: TuneConfig, name: str) -> str:
    parent = parent_of(load_study(config))
    return mlflow.artifacts.load_text(f"runs:/{parent.info.run_id}/{name}")


def test_every_trial_is_a_child_with_its_state(result: TuneResult, config: TuneConfig) -> None:
    children = children_of(parent_of(load_study(config)))
    assert [run.info.run_name for run in children] == [f"trial-{n:04d}" for n in range(4)]
    states = [run.data.tags["trial_state"] for run in children]
    assert states == ["complete", "complete", "failed", "complete"]
    assert [run.info.status for run in children] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert children[BROKEN_TRIAL].data.tags["error"] == "RuntimeError: out of memory"
    assert result.counts == {"complete": 3, "fail": 1}


def test_the_first_trial_is_what_the_user_has_today(result: TuneResult, config: TuneConfig) -> None:
    first = children_of(parent_of(load_study(config)))[0].data.params
    mine = config.training()
    assert float(first["learning_rate"]) == mine.learning_rate
    assert int(first["epochs"]) == mine.epochs
    assert first["refit"] == "False"


def test_a_child_carries_its_learning_curve(result: TuneResult, config: TuneConfig) -> None:
    child = children_of(parent_of(load_study(config)))[0]
    curve = mlflow.MlflowClient().get_metric_history(child.info.run_id, "train/loss")
    assert [point.step for point in curve] == list(range(config.epochs))
    assert not [name for name in child.data.metrics if name.startswith("test/")]


def test_the_parent_sums_up(result: TuneResult, config: TuneConfig) -> None:
    study = load_study(config)
    parent = parent_of(study)
    assert parent.info.status == "FINISHED"
    done = [trial for trial in study.trials if trial.values]
    lowest = min(done, key=lambda trial: trial.values[0])
    assert result.winner.trial == lowest.number
    best = lowest.user_attrs["val/top1"]
    assert parent.data.metrics["tune/best_top1"] == best == result.best_top1
    assert parent.data.metrics["tune/trials"] == 4
    assert parent.data.tags["best_trial"] == str(result.winner.trial)
    table = pd.read_csv(io.StringIO(artifact(result, config, "trials.csv")))
    assert table["number"].tolist() == [0, 1, 2, 3]
    assert artifact(result, config, "reproduce.sh").strip() == result.command
    page = artifact(result, config, "study.html")
    assert "<h2>The best trials</h2>" in page
    assert f"{parent.data.metrics['test/top1']:.3f}</strong>" in page
    assert "tuned version 1" in page


def test_the_winner_is_tested_once_and_is_the_challenger(
    result: TuneResult, config: TuneConfig
) -> None:
    winner = mlflow.get_run(result.winner.run_id)
    parent = parent_of(load_study(config))
    assert winner.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert winner.info.experiment_id == parent.info.experiment_id
    assert winner.data.params["refit"] == "True"
    assert parent.data.metrics["test/top1"] == winner.data.metrics["test/top1"]
    version = mlflow.MlflowClient().get_model_version_by_alias("tuned", "challenger")
    assert int(version.version) == result.winner.version == 1
    aliases = mlflow.MlflowClient().get_registered_model("tuned").aliases
    assert list(aliases) == ["challenger"]


def test_a_continued_search_adds_to_its_run_and_does_not_test_the_same_winner_twice(
    result: TuneResult, config: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("the winner was trained again")

    monkeypatch.setattr(search, "run_training", never)
    again = run_tuning(config)
    assert again == result
    monkeypatch.setattr(
        TrialRunner, "run", lambda *_: {"val/top1": 0.0, "val/calibrated_loss": 9.0}
    )
    more = run_tuning(replace(config, trials=5))
    assert more.location == result.location
    assert more.counts == {"complete": 4, "fail": 1}
    assert more.winner == result.winner
    assert parent_of(load_study(config)).info.status == "FINISHED"


def test_the_open_run_of_a_winner_of_an_earlier_search_is_ended(
    result: TuneResult, config: TuneConfig
) -> None:
    parent = parent_of(load_study(config))
    client = mlflow.MlflowClient()
    study_run = StudyRun(parent.info.run_id)
    tags = study_run.test_tags(best_trial=99)
    open_run = client.create_run(parent.info.experiment_id, tags=tags).info.run_id
    cache = Path(config.cache_dir)
    assert not study_run.find_test(result.winner.trial, "another configuration", cache)
    assert mlflow.get_run(open_run).info.status == "KILLED"


def test_the_run_of_a_winner_that_began_on_another_host_is_ended(
    result: TuneResult, config: TuneConfig, tmp_path: Path
) -> None:
    parent = parent_of(load_study(config))
    study_run = StudyRun(parent.info.run_id)
    tags = study_run.test_tags(99) | {"config_digest": "one"}
    run_id = mlflow.MlflowClient().create_run(parent.info.experiment_id, tags=tags).info.run_id
    checkpoint_folder(tmp_path / "here", run_id).mkdir(parents=True)
    resumable = study_run.find_test(99, "one", tmp_path / "here")
    assert resumable
    assert resumable.info.run_id == run_id
    assert not study_run.find_test(99, "one", tmp_path / "elsewhere")
    assert mlflow.get_run(run_id).info.status == "KILLED"


def test_a_study_of_something_else_is_refused(result: TuneResult, config: TuneConfig) -> None:
    with pytest.raises(
        StudyError, match=r"study 'whole' was started with label_smoothing 0.2; give the same"
    ):
        run_tuning(replace(config, label_smoothing=0.1))


def test_a_worker_that_was_taken_for_dead_loses_its_trial_and_goes_on(config: TuneConfig) -> None:
    mine = replace(config, study="late", trials=2, model="")
    run_trial = TrialRunner.run

    def sleep(self: TrialRunner, *arguments: object) -> object:
        study = load_study(mine)
        if len(study.trials) == 1:
            # What another worker does with a trial that gives no sign of life.
            (silent,) = study.trials
            study.tell(silent.number, state=TrialState.FAIL)
            retry(study, silent)
        return run_trial(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialRunner, "run", sleep)
        result = run_tuning(mine)
    assert result.counts == {"complete": 2}
    study = load_study(mine)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    states = [run.info.status for run in children_of(parent_of(study))]
    assert states == ["FAILED", "FINISHED", "FINISHED"]


def test_pruned_trials_are_finished_runs(config: TuneConfig) -> None:
    mine = replace(
        config,
        study="pruned",
        space="finetune",
        epochs=0,
        finetune_epochs=2,
        finetune_batch_size=8,
        trials=4,
        model="",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "should_prune", lambda self: self.number == 1)
        result = run_tuning(mine)
    assert result.counts == {"complete": 3, "pruned": 1}
    child = children_of(parent_of(load_study(mine)))[1]
    assert (child.info.status, child.data.tags["trial_state"]) == ("FINISHED", "pruned")
    assert len(mlflow.MlflowClient().get_metric_history(child.info.run_id, "val/top1")) == 1


@pytest.fixture
def small(tmp_path: Path, tracking_uri: str) -> TuneConfig:
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
    small: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mlflow.MlflowClient, "set_terminated", failing_once("set_terminated", lambda *_: True)
    )
    assert run_tuning(small).counts == {"complete": 3}
    runs = children_of(parent_of(load_study(small)))
    assert [run.info.status for run in runs] == ["RUNNING", "FINISHED", "FINISHED"]


def test_a_trial_that_cannot_be_recorded_ends_the_search_and_is_left_to_the_next(
    small: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        out = failing_once("create_run", is_of_a_trial)
        patch.setattr(mlflow.MlflowClient, "create_run", out)
        with pytest.raises(MlflowException, match="503"):
            run_tuning(small)
    assert states(small) == ["FAIL", "WAITING"]
    assert parent_of(load_study(small)).info.status == "FAILED"
    assert run_tuning(small).counts == {"complete": 3}
    first, again, *_ = load_study(small).trials
    assert first.params == again.params


def test_ctrl_c_ends_the_search_though_the_run_is_not_closed(
    small: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrialRunner, "run", interrupt)
    monkeypatch.setattr(
        mlflow.MlflowClient, "set_terminated", failing_once("set_terminated", lambda *_: True)
    )
    with pytest.raises(KeyboardInterrupt):
        run_tuning(small)
    assert states(small) == ["FAIL", "WAITING"]
