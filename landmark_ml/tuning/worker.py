"""A worker of a study: it takes one trial after the other until none is left."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from mlflow.exceptions import MlflowException
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from landmark_ml.config import TrainConfig, TuneConfig
from landmark_ml.console import Bar
from landmark_ml.data import Dataset, Photo
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.tracking.errors import short_waits
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import StoredRows, compute_features
from landmark_ml.training.devices import Compute, seed_everything
from landmark_ml.training.loop import OnEpochEnd, judge_logits
from landmark_ml.training.run import train_network
from landmark_ml.tuning.space import suggest_config
from landmark_ml.tuning.study import (
    RETRY_OF,
    RUN_ID,
    StudyError,
    best_trial,
    claim_trial,
    fail_dead_trials,
    heartbeats,
    queue_again,
    running,
    started,
    study_lock,
)

if TYPE_CHECKING:
    from landmark_ml.tuning.recording import StudyRun, TrialRun

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
OBJECTIVES = {"loss": "val/calibrated_loss", "top1": "val/top1"}
"""What a study can search for, and the metric that says it."""


@dataclass
class Worker:
    """Takes the trials of a study, one after the other."""

    config: TuneConfig
    study: Study
    storage: RDBStorage
    parent: StudyRun
    runner: TrialRunner

    def work(self) -> None:
        """Return when the study has all its trials, or the time is up, and no trial is running.

        A trial that raises is recorded, and the next one begins. Ctrl-C and an MLflow outage queue
        the trial again and are raised.
        """
        deadline = time.monotonic() + 60 * (self.config.minutes or math.inf)
        with Bar(total=self.config.trials or None, desc="tune", unit=" trials") as bar:
            while self._take_trial(deadline):
                self._show(bar)
            self._show(bar)

    def _take_trial(self, deadline: float) -> bool:
        """Run one trial, or wait a second for other workers; False when the study has ended."""
        with study_lock(self.storage.url, self.study.study_name):
            fail_dead_trials(self.study)
            enough = self.config.trials and len(started(self.study)) >= self.config.trials
            if enough or time.monotonic() >= deadline:
                busy, trial = bool(running(self.study)), None
            else:
                # Under the lock, so that two workers do not both start the last one.
                busy, trial = True, claim_trial(self.study, self.storage)
        if trial is not None:
            with heartbeats(self.storage, trial):
                self._run(trial)
        elif busy:
            time.sleep(_POLL_SECONDS)
        return busy

    def _run(self, trial: Trial) -> None:
        """Train a trial, and tell the study and MLflow how it ended."""
        tags = {"study": self.study.study_name, "trial": str(trial.number)}
        if RETRY_OF in trial.user_attrs:
            tags[RETRY_OF] = str(trial.user_attrs[RETRY_OF])
        run: TrialRun | None = None
        value = None
        try:
            config = suggest_config(trial, self.config)
            run = self.parent.start_trial(trial.number, config, tags)
            trial.set_user_attr(RUN_ID, run.run_id)
            metrics = self._train(trial, config, run)
            state = TrialState.COMPLETE
            value = metrics[OBJECTIVES[self.config.objective]]
            run.end("complete", metrics)
        except TrialPruned:
            state = TrialState.PRUNED
            if run is not None:
                run.end("pruned")
        except (KeyboardInterrupt, MlflowException):
            # Not the fault of the trial, and without MLflow the next one would fail as well.
            if run is not None:
                with short_waits():
                    run.end("interrupted")
            queue_again(self.study, self.study.tell(trial, state=TrialState.FAIL))
            raise
        except UpdateFinishedTrialError:
            # As after the host slept: another worker took this one for dead.
            logger.warning("trial %d sent no heartbeat for too long and was retried", trial.number)
            if run is not None:
                run.end("failed", error="its process sent no heartbeat for too long")
            return
        except Exception as error:
            state, why = TrialState.FAIL, f"{type(error).__name__}: {error}"
            logger.warning("trial %d failed: %s", trial.number, why)
            if run is not None:
                run.end("failed", error=why)
            with contextlib.suppress(UpdateFinishedTrialError):
                trial.set_user_attr("error", why)
        self.study.tell(trial, value, state, skip_if_finished=True)

    def _train(self, trial: Trial, config: TrainConfig, run: TrialRun) -> dict[str, float]:
        """Train a configuration; metrics by name, the objective among them."""
        phase, objective = 0, OBJECTIVES[self.config.objective]
        # The head phase before a fine-tuning says little about how the fine-tuning will end.
        last_phase = 1 + bool(self.config.epochs and self.config.finetune_epochs)

        def on_epoch_end(metrics: dict[str, float]) -> None:
            nonlocal phase
            run.add(metrics)
            epoch = int(metrics["epoch"])
            phase += epoch == 0
            if self.config.space == "finetune" and phase == last_phase and objective in metrics:
                trial.report(metrics[objective], epoch)
                if trial.should_prune():
                    raise TrialPruned(f"after epoch {epoch}")

        metrics = self.runner.run(config, on_epoch_end)
        for name, value in metrics.items():
            trial.set_user_attr(name, value)
        return metrics

    def _show(self, bar: Bar) -> None:
        """Show the progress of all workers, on the terminal and in the parent run."""
        done = len(started(self.study)) - len(running(self.study))
        with contextlib.suppress(StudyError):
            best = best_trial(self.study)
            top1 = best.user_attrs["val/top1"]
            bar.set_postfix_str(f"best val top-1 {top1:.3f} (trial {best.number})", refresh=False)
            if done > bar.n:
                progress = {"tune/best_top1": top1, "tune/trials": float(done)}
                self.parent.log(progress, step=done)
        bar.update(done - bar.n)


@dataclass
class TrialRunner:
    """Trains configurations on the same photos; a trial trains exactly as a run would.

    Frozen networks and the features of all photos stay in memory from one trial to the next; the
    heads draw from generators of their own.
    """

    dataset: Dataset
    compute: Compute
    _networks: dict[Any, LandmarkNetwork] = field(default_factory=dict)
    _features: dict[Any, StoredRows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._photos = self.dataset.train + self.dataset.val
        self._rows = {photo.sha256: row for row, photo in enumerate(self._photos)}

    def run(self, config: TrainConfig, on_epoch_end: OnEpochEnd) -> dict[str, float]:
        """val/top1, val/top3 and val/calibrated_loss.

        on_epoch_end gets the metrics of each epoch; what it raises ends the trial.
        """
        if config.finetune_epochs:
            # Fine-tuning changes the network, so every trial needs its own.
            seed_everything(config.seed)
            model = create_model(config, num_outputs(self.dataset))
        else:
            model = self._network(config)
        asked = train_network(
            model, self.dataset, config, self.compute, on_epoch_end, features=self._features_of
        )
        return judge_logits(asked.logits, asked.targets, self.dataset.num_classes)

    def _network(self, config: TrainConfig) -> LandmarkNetwork:
        """The frozen network."""
        key = _network_key(config)
        if key not in self._networks:
            seed_everything(config.seed)
            # Dropout belongs to the head, which each trial trains anew.
            frozen = replace(config, drop_rate=0.0)
            self._networks[key] = create_model(frozen, num_outputs(self.dataset))
        return self._networks[key]

    def _features_of(
        self,
        model: LandmarkNetwork,
        photos: Sequence[Photo],
        config: TrainConfig,
        compute: Compute,
    ) -> StoredRows:
        """Features of photos; takes the place of `compute_features` in training."""
        key = _network_key(config)
        if key not in self._features:
            self._features[key] = compute_features(model, self._photos, config, compute)
        rows = torch.tensor([self._rows[photo.sha256] for photo in photos])
        return self._features[key].subset(rows)


def _network_key(config: TrainConfig) -> tuple[object, ...]:
    """What tells the networks of a search and their teacher apart."""
    stacked = config.feature_stages, config.pooling, config.mirror
    return config.backbone, config.weights, config.resolution, config.framing, config.seed, *stacked
