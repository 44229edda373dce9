"""Two real processes train what one does, log one run, and end clearly when one of them is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import psutil
import pytest

from experiments import recipes
from landmark_ml.config import TrainConfig, to_params
from landmark_ml.data.postcards import write_postcards
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from landmark_ml.training.devices import ALONE
from tests.interrupted_runs import final_metrics, history, status
from tests.shared_fit import run as run_alone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 5
LONGEST = 900.0
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    command = [sys.executable, *TORCHRUN, "-m", "tests.shared_fit", str(tmp_path / "rows.json")]
    subprocess.run(command, cwd=ROOT, check=True, timeout=LONGEST, capture_output=True)  # noqa: S603
    shared = json.loads((tmp_path / "rows.json").read_text())
    for one, two in zip(run_alone(ALONE), shared, strict=True):
        for name in ("train/loss", "val/loss", "val/top1", "learning_rate"):
            assert two[name] == pytest.approx(one[name], rel=1e-5), name


@dataclass(frozen=True)
class Workplace:
    """Where all runs of this file train: a few postcards, one MLflow database."""

    folder: Path
    config: TrainConfig
    environment: dict[str, str]

    @contextlib.contextmanager
    def start(self, log: str, *launcher: str, **changes: object) -> Iterator[subprocess.Popen[str]]:
        """The command a person would type; whatever it started is gone afterwards."""
        config = replace(self.config, **changes)  # type: ignore[arg-type]
        params = {k: v for k, v in to_params(config).items() if k != "recipe"}
        flags = [f"--{name}={value}" for name, value in params.items()]
        with (self.folder / log).open("w") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, *launcher, "-m", "experiments", "scratch", *flags],
                cwd=ROOT,
                env=self.environment,
                stdout=file,
                stderr=file,
                text=True,
            )
        try:
            yield process
        finally:
            for child in children(process):
                child.kill()
            process.kill()
            process.wait(30)

    def finish(self, log: str, *launcher: str, **changes: object) -> str:
        """Id of a run that ran to its end."""
        with self.start(log, *launcher, **changes) as process:
            assert process.wait(LONGEST) == 0, self.said(log)
        return self.runs()[-1]

    def said(self, log: str) -> str:
        return (self.folder / log).read_text()

    def runs(self) -> list[str]:
        found = mlflow.search_runs(
            experiment_names=[DEFAULT_EXPERIMENT],
            filter_string=f"params.data = '{self.config.data}'",
            order_by=["attributes.start_time ASC"],
            output_format="list",
        )
        return [run.info.run_id for run in found]

    def checkpoints(self) -> list[Path]:
        return sorted((self.folder / "cache" / "checkpoints").glob("*/*.pt"))

    def wait_for_checkpoint(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + LONGEST
        while len(self.checkpoints()) < 2:
            assert process.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.01)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The training processes that torchrun started, by rank."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid).children()
        return sorted(found, key=lambda child: child.pid)
    return []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tracking_uri: str) -> Workplace:
    folder = tmp_path_factory.mktemp("distributed")
    photos = write_postcards(folder / "photos", per_class=10, not_landmarks=8, test_per_class=2)
    config = replace(
        recipes.scratch(),
        data=str(photos),
        cache_dir=str(folder / "cache"),
        # As quick as possible: the test is about the way from the launcher to the registry.
        backbone="test_resnet",
        optimizer="adamw",
        finetune_learning_rate=1e-3,
        resolution=32,
        start_resolution=0,
        finetune_epochs=EPOCHS,
        finetune_batch_size=16,
        model="",
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri, "OMP_NUM_THREADS": "1"}
    return Workplace(folder, config, environment)


@pytest.fixture(scope="module")
def shared(place: Workplace) -> str:
    """Id of a run that torchrun shared among two."""
    return place.finish("shared.log", *TORCHRUN)


def test_one_run_is_logged_and_only_the_first_process_speaks(place: Workplace, shared: str) -> None:
    assert place.runs() == [shared]
    assert mlflow.get_run(shared).data.tags["processes"] == "2"
    assert list(history(shared, "train/loss")) == list(range(EPOCHS))
    said = place.said("shared.log")
    assert said.count("test top-1") == 1
    assert said.count("12 landmarks,") == 1
    assert place.checkpoints() == []


def test_a_lost_process_ends_the_run_and_resume_goes_on_to_the_same_metrics(
    place: Workplace, shared: str
) -> None:
    with place.start("lost.log", *TORCHRUN) as process:
        place.wait_for_checkpoint(process)
        children(process)[1].send_signal(signal.SIGKILL)
        assert process.wait(90) != 0
    lost = place.runs()[-1]
    assert status(lost) in ("FAILED", "KILLED")
    # A photo added since is not part of this run, in any process.
    folder = next((place.folder / "photos" / "train").iterdir())
    shutil.copy(next(folder.iterdir()), folder / "came_later.jpg")
    # The way that needs no torchrun on the command line.
    assert place.finish("resumed.log", processes=2, resume="auto") == lost
    (folder / "came_later.jpg").unlink()
    assert status(lost) == "FINISHED"
    assert final_metrics(lost) == final_metrics(shared)
    assert history(lost, "val/loss") == history(shared, "val/loss")


def test_a_run_that_gets_a_stop_signal_ends_as_killed(place: Workplace, shared: str) -> None:
    with place.start("stopped.log", *TORCHRUN, seed=1) as process:
        place.wait_for_checkpoint(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) != 0
    assert status(place.runs()[-1]) == "KILLED"
    assert "resume=auto resumes it" in place.said("stopped.log")
