"""A real process, killed in the middle of an epoch, and the command that resumes its run.

The same run uninterrupted is what each is measured against.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest

from landmark_ml.config import TrainConfig, to_params
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from tests.interrupted_runs import QUICK, final_metrics, history, status, write_colour_folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 8
LONGEST = 240.0


@dataclass(frozen=True)
class Workplace:
    """Where all runs of this file train: one dataset, one MLflow database, a log for each."""

    folder: Path
    config: TrainConfig
    environment: dict[str, str]

    def start(self, seed: int, resume: str = "") -> subprocess.Popen[str]:
        """The command a person would type, in a process of its own."""
        config = replace(self.config, seed=seed, resume=resume)
        params = {k: v for k, v in to_params(config).items() if k != "recipe"}
        flags = [f"--{name}={value}" for name, value in params.items()]
        with self.log(seed).open("a") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "experiments", "transfer", *flags],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                text=True,
            )

    def log(self, seed: int) -> Path:
        return self.folder / f"{seed}.log"

    def finish(self, seed: int, resume: str = "") -> str:
        """Run to the end; what it said."""
        code = self.start(seed, resume).wait(LONGEST)
        said = self.log(seed).read_text()
        assert code == 0, said
        return said

    def checkpoints(self) -> list[Path]:
        found = (self.folder / "cache" / "checkpoints").glob("*/*.pt")
        return sorted(found, key=lambda path: path.name)

    def last_epoch(self) -> int:
        """Epoch of fine-tuning that the newest checkpoint was written after."""
        return int(self.checkpoints()[-1].name.split("-")[1])

    def wait_for_checkpoint(self, epoch: int, process: subprocess.Popen[str]) -> None:
        """Return while an epoch after the given one is being trained."""
        deadline = time.monotonic() + LONGEST
        while not self.checkpoints() or self.last_epoch() < epoch:
            assert process.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        # Well into the next epoch, if it takes as long as the last one.
        time.sleep(self.epoch_seconds() * 0.4)

    def epoch_seconds(self) -> float:
        before, last = (path.stat().st_mtime for path in self.checkpoints()[-2:])
        return last - before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tracking_uri: str) -> Workplace:
    folder = tmp_path_factory.mktemp("killed")
    config = TrainConfig(
        data=str(write_colour_folders(folder / "photos", each=60)),
        cache_dir=str(folder / "cache"),
        epochs=2,
        finetune_epochs=EPOCHS,
        **QUICK | {"resolution": 64},
    )
    # The fault handler shows where a process crashed, should one ever do.
    environment = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri, "PYTHONFAULTHANDLER": "1"}
    return Workplace(folder, config, environment)


def runs_of(place: Workplace, seed: int) -> list[str]:
    """Ids of the runs of a seed, the oldest first."""
    found = mlflow.search_runs(
        experiment_names=[DEFAULT_EXPERIMENT],
        filter_string=f"params.seed = '{seed}' and params.data = '{place.config.data}'",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    return [run.info.run_id for run in found]


@pytest.fixture(scope="module")
def whole(place: Workplace) -> str:
    """Id of a run that nothing interrupted."""
    place.finish(seed=0)
    (run_id,) = runs_of(place, 0)
    assert place.checkpoints() == []
    return run_id


def kill(place: Workplace, epoch: int, resume: str = "") -> str:
    """Id of a run that got SIGKILL in the middle of fine-tuning, after an epoch."""
    process = place.start(seed=0, resume=resume)
    place.wait_for_checkpoint(epoch, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    run_id = runs_of(place, 0)[-1]
    assert len(place.checkpoints()) == 2
    assert epoch <= place.last_epoch() < EPOCHS - 1
    assert {path.parent.name for path in place.checkpoints()} == {run_id}
    assert status(run_id) == "RUNNING"
    return run_id


def assert_same(run_id: str, whole: str) -> None:
    assert run_id != whole
    assert status(run_id) == "FINISHED"
    assert final_metrics(run_id) == final_metrics(whole)
    for name in ("train/loss", "val/loss", "val/top1", "learning_rate"):
        values = history(run_id, name)
        assert values == history(whole, name)
        assert len(values) == 2 + EPOCHS
    assert probabilities(run_id) == probabilities(whole)


def probabilities(run_id: str) -> str:
    return mlflow.artifacts.load_text(f"runs:/{run_id}/test_answers.csv")


def test_a_run_killed_twice_in_the_middle_of_an_epoch_ends_as_if_it_had_not_been(
    place: Workplace, whole: str
) -> None:
    killed = kill(place, 1)
    resumed_after = place.last_epoch() + 1
    assert kill(place, 4, resume="auto") == killed
    assert f"resuming after {resumed_after} epochs of fine-tuning" in place.log(0).read_text()
    # Without its newest checkpoint it goes on from the one before.
    newest, done = place.checkpoints()[-1], place.last_epoch()
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size // 2)
    said = place.finish(seed=0, resume=killed)
    assert f"{newest} is truncated or was changed" in said
    assert f"resuming after {done} epochs of fine-tuning" in said
    assert_same(killed, whole)
    assert place.checkpoints() == []


def test_a_run_that_gets_ctrl_c_ends_as_killed(place: Workplace) -> None:
    process = place.start(seed=1)
    place.wait_for_checkpoint(1, process)
    process.send_signal(signal.SIGINT)
    # As `mlflow run` does after Ctrl-C: it must not cut the ending of the run short.
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    said = place.log(1).read_text()
    assert code == 1, said
    assert "Traceback" not in said
    assert re.search(r"run \w+ stops here; resume=auto resumes it", said)
    assert said.rstrip().endswith("interrupted")
    (run_id,) = runs_of(place, 1)
    assert status(run_id) == "KILLED"
    figures = mlflow.artifacts.list_artifacts(run_id=run_id, artifact_path="figures")
    assert "figures/learning_curves.png" in [item.path for item in figures]


LAUNCHED = """
import sys
from landmark_ml.tracking import run as tracking
from landmark_ml.config import TrainConfig
(found,) = tracking.unfinished_runs(sys.argv[1])
with tracking.start_run(TrainConfig(), "name", {}, found) as run:
    print(run.run_id)
"""


def test_under_mlflow_run_the_unfinished_run_of_its_experiment_goes_on(
    tracking_uri: str, tmp_path: Path
) -> None:
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("launched", str(tmp_path))
    unfinished = client.create_run(experiment, tags={"config_digest": "abc"}).info.run_id
    launched = client.create_run(experiment).info.run_id
    said = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", LAUNCHED, "abc"],
        cwd=ROOT,
        env=os.environ
        | {
            "MLFLOW_TRACKING_URI": tracking_uri,
            "MLFLOW_RUN_ID": launched,
            "MLFLOW_EXPERIMENT_ID": experiment,
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.split() == [unfinished]
    assert status(unfinished) == "FINISHED"
    # What `mlflow run` opened for itself says where the training went.
    assert client.get_run(launched).data.tags["resumed_run"] == unfinished
