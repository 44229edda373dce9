"""How a worker ends its trials; a trial trains exactly as a run of its configuration would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna import TrialPruned

from landmark_ml.config import TrainConfig, TuneConfig
from landmark_ml.data import Photo
from landmark_ml.data.opening import open_dataset
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.training import run as training
from landmark_ml.training.cache import StoredRows
from landmark_ml.training.devices import Compute, choose_compute, random_state
from landmark_ml.tuning import join_study, worker
from landmark_ml.tuning.study import best_trial
from landmark_ml.tuning.worker import TrialRunner
from tests.tiny_networks import stored
from tests.tuning.small_search import NO_PHOTOS, children_of, parent_of, small_search


class TrainingBeganError(Exception):
    """The training began: everything before it worked."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("search")
    return small_search(folder, drop_rate=0.5, refit=False, epochs=3).training()


def runner(config: TrainConfig) -> TrialRunner:
    compute = choose_compute("cpu", 1)
    return TrialRunner(open_dataset(config), compute)


def nothing(_: dict[str, float]) -> None:
    pass


def features(
    model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, _: Compute
) -> StoredRows:
    """In place of those of a traced network, which takes seconds to trace."""
    rng = torch.Generator().manual_seed(0)
    width = model.classifier.in_features
    return stored(torch.rand(len(photos), width, generator=rng))


def test_the_same_parameters_give_the_same_whatever_was_tried_before(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "compute_features", features)
    search = runner(config)
    first = search.run(config, nothing)
    other = search.run(replace(config, drop_rate=0.1), nothing)
    assert search.run(config, nothing) == first != other
    assert search.run(replace(config, seed=1), nothing) != first


def test_a_teacher_of_the_same_backbone_keeps_features_of_its_own(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []

    def computed(model: LandmarkNetwork, *of: Any) -> StoredRows:
        widths.append(model.classifier.in_features)
        return features(model, *of)

    monkeypatch.setattr(worker, "compute_features", computed)
    monkeypatch.setattr(
        "landmark_ml.training.phases.create_model",
        lambda teaching, outputs: create_model(replace(teaching, weights=config.weights), outputs),
    )
    taught = replace(config, pooling="average", teacher=config.backbone, teacher_resolution=32)
    runner(config).run(taught, nothing)
    # The teacher sees deviations beside averages.
    assert widths == [2 * widths[1], widths[1]]


@pytest.mark.parametrize("finetune_epochs", [0, 1])
def test_a_trial_draws_as_a_run_of_its_configuration_does(
    config: TrainConfig, finetune_epochs: int, monkeypatch: pytest.MonkeyPatch, tracking_uri: str
) -> None:
    states: list[dict[str, Any]] = []

    def begin(*_: object, **__: object) -> None:
        states.append(random_state())
        raise TrainingBeganError

    config = replace(config, finetune_epochs=finetune_epochs)
    search = runner(config)
    for module in (training, worker):
        monkeypatch.setattr(module, "train_network", begin)
    for train in (training.run_training, search.run, search.run):
        with pytest.raises(TrainingBeganError):
            train(config, nothing)
    run, *tried = states
    for state in tried:
        assert torch.equal(state["torch"], run["torch"])
        assert torch.equal(state["numpy"][0], run["numpy"][0])
        assert state["python"] == run["python"]


class ScriptedRunner(TrialRunner):
    """Returns a top-1 for each trial, or raises, instead of training."""

    def __init__(self, *outcomes: float | BaseException) -> None:
        self.outcomes = list(outcomes)

    def run(
        self, _config: TrainConfig, on_epoch_end: Callable[[dict[str, float]], None]
    ) -> dict[str, float]:
        on_epoch_end({"epoch": 0.0, "val/top1": 0.5})
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return {"val/top1": outcome, "val/calibrated_loss": 0.5}


@pytest.mark.parametrize(("objective", "best"), [("loss", 1), ("top1", 2)])
def test_the_loss_tells_trials_apart_whose_top1_is_the_same(
    objective: str, best: int, tmp_path: Path, tracking_uri: str
) -> None:
    outcomes = [(1.0, 0.2), (1.0, 0.1), (1.0 + (objective == "top1"), 0.3)]

    class Measured(TrialRunner):
        def __init__(self) -> None:
            """Needs no photos."""

        def run(self, *_: object) -> dict[str, float]:
            top1, loss = outcomes.pop(0)
            return {"val/top1": top1, "val/calibrated_loss": loss}

    search = TuneConfig(
        study=objective,
        storage=f"sqlite:///{tmp_path}/studies.db",
        objective=objective,
        trials=3,
        model="",
    )
    searching = join_study(search, NO_PHOTOS, Measured())
    searching.work()
    assert best_trial(searching.study).number == best


def test_every_trial_is_recorded_as_it_ended(tmp_path: Path, tracking_uri: str) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    search = TuneConfig(study="ends", storage=storage, trials=3, model="")
    failing = ScriptedRunner(0.5, RuntimeError("out of memory"), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        join_study(search, NO_PHOTOS, failing).work()
    again = join_study(search, NO_PHOTOS, ScriptedRunner(TrialPruned()))
    again.work()
    states = [trial.state.name for trial in again.study.trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "PRUNED"]
    assert again.study.trials[3].params == again.study.trials[2].params
    children = children_of(parent_of(again.study))
    ends = [(run.info.status, run.data.tags["trial_state"]) for run in children]
    assert ends == [
        ("FINISHED", "complete"),
        ("FAILED", "failed"),
        ("KILLED", "interrupted"),
        ("FINISHED", "pruned"),
    ]
    assert children[1].data.tags["error"] == "RuntimeError: out of memory"
    assert children[3].data.tags["retry_of"] == "2"
    assert all(run.data.params["epochs"] and run.data.metrics["val/top1"] for run in children)
