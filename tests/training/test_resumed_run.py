"""An interrupted run goes on as if nothing had happened, or says why it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run

from landmark_ml.config import TrainConfig
from landmark_ml.tracking import run as tracking
from landmark_ml.training.checkpoint import CheckpointError, ResumeError, hold_run
from landmark_ml.training.devices import one_thread
from landmark_ml.training.run import TrainResult, find_unfinished, run_training
from tests.interrupted_runs import (
    QUICK,
    answers,
    final_metrics,
    history,
    status,
    unfinished_run,
    write_colour_folders,
)
from tests.photo_folders import random_picture

Rows = list[dict[str, float]]

# Whole runs and processes: they take longer than the fast suite has.
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Interrupted:
    """A run as it was found after Ctrl-C in its third epoch."""

    run: Run
    artifacts: set[str]
    checkpoints: list[str]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tracking_uri: str) -> TrainConfig:
    folder = tmp_path_factory.mktemp("resuming")
    return TrainConfig(
        data=str(write_colour_folders(folder / "photos")),
        cache_dir=str(folder / "cache"),
        epochs=0,
        finetune_epochs=4,
        **QUICK,
    )


@pytest.fixture(scope="module")
def whole(config: TrainConfig) -> TrainResult:
    """A run that nothing interrupted; `auto` finds nothing to go on with."""
    return run_training(replace(config, resume="auto"))


@pytest.fixture(scope="module")
def interrupted(config: TrainConfig, whole: TrainResult) -> Interrupted:
    seen: Rows = []

    def interrupt(metrics: dict[str, float]) -> None:
        seen.append(metrics)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(config, interrupt)
    run = mlflow.last_active_run()
    assert run is not None
    run_id = run.info.run_id
    figures = mlflow.artifacts.list_artifacts(run_id=run_id, artifact_path="figures")
    folder = Path(config.cache_dir) / "checkpoints" / run_id
    return Interrupted(
        mlflow.get_run(run_id),
        {item.path for item in figures},
        sorted(path.name[:12] for path in folder.glob("*.pt")),
    )


@pytest.fixture(scope="module")
def resumed(config: TrainConfig, interrupted: Interrupted) -> tuple[TrainResult, Rows]:
    rows: Rows = []
    # A photo that came later is left out: the run goes on with the manifest it logged.
    first = min(Path(config.data).glob("train/*/*"))
    late = first.with_name("late.png")
    random_picture(seed=5).save(late)
    try:
        return run_training(replace(config, resume="auto"), rows.append), rows
    finally:
        late.unlink()


def test_auto_starts_a_run_when_there_is_none_to_resume(
    whole: TrainResult, config: TrainConfig
) -> None:
    assert status(whole.run_id) == "FINISHED"
    assert sorted(history(whole.run_id, "val/loss")) == [0, 1, 2, 3]


def test_ctrl_c_ends_a_run_as_killed_with_what_it_has(interrupted: Interrupted) -> None:
    assert interrupted.run.info.status == "KILLED"
    assert interrupted.run.data.tags["error"] == "interrupted by Ctrl-C or a signal"
    assert "figures/learning_curves.png" in interrupted.artifacts
    assert interrupted.checkpoints == ["epoch-000000", "epoch-000001"]


def test_auto_resumes_the_same_run_after_its_last_epoch(
    interrupted: Interrupted, resumed: tuple[TrainResult, Rows], config: TrainConfig
) -> None:
    result, rows = resumed
    assert result.run_id == interrupted.run.info.run_id
    assert [row["epoch"] for row in rows] == [2, 3]
    assert status(result.run_id) == "FINISHED"
    assert not (Path(config.cache_dir) / "checkpoints" / result.run_id).exists()


def test_it_ends_where_an_uninterrupted_run_ends(
    whole: TrainResult, resumed: tuple[TrainResult, Rows], config: TrainConfig
) -> None:
    result, _ = resumed
    for name in ("val/loss", "val/top1", "val/top3", "train/loss", "learning_rate"):
        values = history(result.run_id, name)
        # The epoch that was cut short is trained twice and logged once.
        assert values == history(whole.run_id, name)
        assert all(len(at_step) == 1 for at_step in values.values())
    assert final_metrics(result.run_id) == final_metrics(whole.run_id)
    photos = Path(config.data)
    mine, theirs = answers(result.model_uri, photos), answers(whole.model_uri, photos)
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert mine["confidence"].nunique() > len(mine) / 2


@pytest.mark.parametrize(
    ("resume", "changes", "sentence"),
    [
        ("finished", {}, "this run has finished, there is nothing to go on with"),
        ("0123456789abcdef0123456789abcdef", {}, "there is no such run; see the MLflow UI"),
        ("no run id at all", {}, "there is no such run"),
        ("unfinished", {"learning_rate": 0.5}, "was started with other parameters; give the ones"),
        ("deleted", {}, "this run was deleted; restore it"),
    ],
    ids=["finished", "unknown", "nonsense", "other parameters", "deleted"],
)
def test_a_run_that_cannot_be_resumed_is_refused(
    resume: str, changes: dict[str, Any], sentence: str, config: TrainConfig, whole: TrainResult
) -> None:
    other = replace(config, seed=10)
    run_id = {"finished": whole.run_id}.get(resume, resume)
    if resume in ("unfinished", "deleted"):
        run_id = unfinished_run(other)
    if resume == "deleted":
        mlflow.delete_run(run_id)
    with pytest.raises(ValueError, match=sentence) as refused:
        run_training(replace(other, resume=run_id, **changes))
    assert run_id in str(refused.value)


def test_auto_takes_the_last_unfinished_run_of_the_same_parameters(
    config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    mine = replace(config, seed=11, resume="auto")
    runs = [unfinished_run(each) for each in (mine, mine, replace(config, seed=12))]
    assert find_unfinished(mine) == runs[1]
    mlflow.delete_run(runs[1])
    assert find_unfinished(mine) == runs[0]
    mlflow.MlflowClient().set_terminated(runs[0], "FINISHED")
    with caplog.at_level("INFO"):
        assert find_unfinished(mine) is None
    assert "no unfinished run of these parameters; a new one begins" in caplog.text


def test_a_run_that_began_elsewhere_is_not_begun_again(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = replace(config, seed=16)
    run_id = unfinished_run(mine)
    shutil.rmtree(Path(config.cache_dir) / "checkpoints" / run_id)
    with pytest.raises(ResumeError, match=rf"its checkpoints are not in .*{run_id}; resume it in"):
        run_training(replace(mine, resume=run_id))
    assert find_unfinished(replace(mine, resume="auto")) is None
    assert f"a new run begins: run {run_id} is unfinished" in caplog.text
    assert status(run_id) == "KILLED"


def test_auto_says_that_a_newer_run_began_elsewhere(
    config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    mine = replace(config, seed=17, resume="auto")
    older, newer = unfinished_run(mine), unfinished_run(mine)
    assert find_unfinished(mine) == newer
    assert newer not in caplog.text
    shutil.rmtree(Path(config.cache_dir) / "checkpoints" / newer)
    assert find_unfinished(mine) == older
    assert f"resuming the older run {older}: run {newer} is unfinished" in caplog.text


def test_a_run_of_another_experiment_goes_on_there(config: TrainConfig, tmp_path: Path) -> None:
    elsewhere = mlflow.create_experiment("elsewhere", str(tmp_path))
    client = mlflow.MlflowClient()
    run_id = client.create_run(elsewhere).info.run_id
    client.set_tag(run_id, "error", "CheckpointError: disk full")
    with tracking.start_run(config, "name", {}, run_id) as run:
        assert run.run_id == run_id
        assert status(run_id) == "RUNNING"
    assert status(run_id) == "FINISHED"
    assert "error" not in client.get_run(run_id).data.tags


def test_photos_that_changed_since_are_noticed(config: TrainConfig) -> None:
    mine = replace(config, seed=13)
    run_id = unfinished_run(mine)
    saved = {"manifest": "0123", "history": [], "seconds": 1.0}
    with hold_run(Path(config.cache_dir), run_id) as checkpoints:
        checkpoints.save(0, saved)
    with pytest.raises(ResumeError, match=r"photos changed .* manifest 0123 then, \w+ now; bring"):
        run_training(replace(mine, resume=run_id))
    # What it began with is still there to go on from.
    assert status(run_id) == "FAILED"
    assert mlflow.artifacts.list_artifacts(run_id=run_id) == []
    assert checkpoints.load() == (0, saved)


def test_a_run_whose_checkpoints_are_all_damaged_says_so(config: TrainConfig) -> None:
    mine = replace(config, seed=14)
    run_id = unfinished_run(mine)
    with hold_run(Path(config.cache_dir), run_id) as checkpoints:
        checkpoints.save(0, {}).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged"):
        run_training(replace(mine, resume=run_id))


HOLD = """
import sys, time
from pathlib import Path
from landmark_ml.training.checkpoint import hold_run
with hold_run(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_that_another_process_trains_is_left_alone(config: TrainConfig) -> None:
    mine = replace(config, seed=15)
    run_id = unfinished_run(mine)
    command = [sys.executable, "-c", HOLD, config.cache_dir, run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:  # noqa: S603
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(ResumeError, match=f"run {run_id} is being trained by another"):
                run_training(replace(mine, resume="auto"))
        finally:
            other.kill()
    assert status(run_id) == "KILLED"
    # A process that dies lets go.
    with hold_run(Path(config.cache_dir), run_id):
        pass
