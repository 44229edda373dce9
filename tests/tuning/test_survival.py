"""Real processes at one study: killed ones, several at once, on a file and on a server."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from optuna.trial import TrialState

from benchmarks.databases import PostgresServer
from landmark_ml.config import TuneConfig
from landmark_ml.training.checkpoint import began_here
from tests.tuning.small_search import (
    children_of,
    load_study,
    parent_of,
    runs_of_the_winner,
    small_search,
    start_worker,
)

pytestmark = pytest.mark.slow

# Workers take minutes to start where other tests keep the cores busy.
LONGEST = 900.0
# Long enough to be met in the middle.
SLOW_TRIALS = 400


def stop_in_a_trial(
    config: TuneConfig, worker: subprocess.Popen[bytes], log: Path, done: int
) -> int:
    """Number of the trial at work once so many are done; the process stands still in it."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        assert worker.poll() is None, log.read_text()
        if trial_at_work(config, done) is not None:
            # Seen at work, it may have ended since.
            worker.send_signal(signal.SIGSTOP)
            number = trial_at_work(config, done)
            if number is not None:
                return number
            worker.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    pytest.fail(f"no trial was met at work: {log.read_text()}")


def trial_at_work(config: TuneConfig, done: int) -> int | None:
    """Number of the trial at work, None before so many are done or while the study is locked."""
    try:
        trials = load_study(config).trials
    except Exception:
        return None
    if sum(trial.state == TrialState.COMPLETE for trial in trials) < done:
        return None
    at_work = (t.number for t in trials if t.state == TrialState.RUNNING)
    return next((n for n in at_work if trials[n].user_attrs.get("run_id")), None)


def finish(workers: list[subprocess.Popen[bytes]], log: Path) -> str:
    for worker in workers:
        assert worker.wait(LONGEST) == 0, log.read_text()
    return log.read_text()


def check_trials(config: TuneConfig, count: int) -> None:
    """So many trials were completed, each with a run and parameters of its own."""
    study = load_study(config)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    done = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(done) == count
    assert sorted(trial.number for trial in study.trials) == list(range(len(study.trials)))
    parameters = Counter(str(sorted(trial.params.items())) for trial in done)
    assert max(parameters.values()) == 1
    parent = parent_of(study)
    children = children_of(parent)
    assert len(children) == len(study.trials)
    assert [int(run.data.tags["trial"]) for run in children] == list(range(len(children)))
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["tune/complete"] == count
    best = min(done, key=lambda trial: trial.values[0]).user_attrs["val/top1"]
    assert parent.data.metrics["tune/best_top1"] == best


def test_a_trial_whose_process_was_killed_is_tried_again(tmp_path: Path, tracking_uri: str) -> None:
    config = small_search(tmp_path, study="killed", trials=2, epochs=SLOW_TRIALS, heartbeat=1)
    log = tmp_path / "log"
    worker = start_worker(config, log)
    number = stop_in_a_trial(config, worker, log, done=1)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait(10) == -signal.SIGKILL
    before = load_study(config)
    parent = parent_of(before)
    assert parent.info.status == "RUNNING"
    assert before.trials[number].state == TrialState.RUNNING
    said = finish([start_worker(config, log)], log)
    assert f"trial {number} did not finish and will be tried again" in said
    study = load_study(config)
    assert parent_of(study).info.run_id == parent.info.run_id
    assert study.trials[number].state == TrialState.FAIL
    (again,) = [t for t in study.trials if t.user_attrs.get("retry_of") == number]
    assert again.params == study.trials[number].params
    assert (again.state, len(study.trials)) == (TrialState.COMPLETE, 3)
    check_trials(config, 2)
    child = children_of(parent)[number]
    assert (child.info.status, child.data.tags["error"]) == ("FAILED", "its process died")


def test_ctrl_c_ends_a_worker_at_once_and_the_next_goes_on(
    tmp_path: Path, tracking_uri: str
) -> None:
    config = small_search(tmp_path, study="stopped", trials=2, epochs=SLOW_TRIALS)
    log = tmp_path / "log"
    worker = start_worker(config, log)
    number = stop_in_a_trial(config, worker, log, done=1)
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(60) == 1
    said = log.read_text()
    assert "Traceback" not in said
    assert "study stopped stops here; continue it with study=stopped" in said
    study = load_study(config)
    assert parent_of(study).info.status == "KILLED"
    assert [t.state for t in study.trials][number:] == [TrialState.FAIL, TrialState.WAITING]
    assert children_of(parent_of(study))[number].info.status == "KILLED"
    finish([start_worker(config, log)], log)
    again = load_study(config).trials[number + 1]
    assert again.params == study.trials[number].params
    check_trials(config, 2)


def wait_for_the_test(config: TuneConfig, worker: subprocess.Popen[bytes], log: Path) -> Run:
    """The run in which the best configuration is tested, once it can be gone on with."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        assert worker.poll() is None, log.read_text()
        try:
            tested = runs_of_the_winner(parent_of(load_study(config)))
        except Exception:
            tested = []
        if tested and began_here(Path(config.cache_dir), tested[0].info.run_id):
            return tested[0]
        time.sleep(0.02)
    pytest.fail(f"the best trial was not tested: {log.read_text()}")


def test_a_conclusion_that_was_killed_is_gone_on_with(tmp_path: Path, tracking_uri: str) -> None:
    config = small_search(tmp_path, study="unconcluded", trials=2, model="unconcluded")
    log = tmp_path / "log"
    worker = start_worker(config, log)
    begun = wait_for_the_test(config, worker, log)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait(10) == -signal.SIGKILL
    assert mlflow.get_run(begun.info.run_id).info.status == "RUNNING"
    finish([start_worker(config, log)], log)
    check_trials(config, 2)
    (tested,) = runs_of_the_winner(parent_of(load_study(config)))
    assert (tested.info.run_id, tested.info.status) == (begun.info.run_id, "FINISHED")
    assert tested.data.metrics["test/top1"] >= 0
    client = mlflow.MlflowClient()
    (version,) = client.search_model_versions("name = 'unconcluded'")
    assert version.run_id == tested.info.run_id
    assert client.get_registered_model("unconcluded").aliases == {"challenger": version.version}


def test_two_workers_share_a_study_in_a_file(tmp_path: Path, tracking_uri: str) -> None:
    config = small_search(tmp_path, study="shared", trials=6)
    log = tmp_path / "log"
    finish([start_worker(config, log) for _ in range(2)], log)
    check_trials(config, 6)


def test_three_workers_share_a_study_and_the_runs_in_postgresql(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = postgres.create_database("runs")
    storage = postgres.create_database("studies")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(runs)
    where = {"MLFLOW_TRACKING_URI": runs, "MLFLOW_EXPERIMENT_NAME": "landmarks"}
    try:
        mlflow.create_experiment("landmarks", str(tmp_path / "artifacts"))
        config = replace(
            small_search(tmp_path, study="cluster", trials=9, model="landmarks"),
            storage=storage,
        )
        log = tmp_path / "log"
        workers = [start_worker(config, log, **where) for _ in range(3)]
        finish(workers, log)
        check_trials(config, 9)
        client = mlflow.MlflowClient()
        # Concluded once, whoever came first.
        assert len(client.search_model_versions("name = 'landmarks'")) == 1
        assert int(client.get_model_version_by_alias("landmarks", "challenger").version) == 1
        assert load_study(config).user_attrs["workers"] == 2
    finally:
        mlflow.set_tracking_uri(before)
