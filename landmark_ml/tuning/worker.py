"""A worker of a study: takes one trial after the other until none is left."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from optuna import Trial, TrialPruned
from optuna.trial import TrialState
from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.tuning.recording import NotRecordedError, end_silent_trial
from landmark_ml.tuning.space import suggest_config
from landmark_ml.tuning.storage import study_lock
from landmark_ml.tuning.study import (
    RETRY_OF,
    RUN_ID,
    SilentTrials,
    best_trial,
    queue_again,
    running,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna import Study
    from optuna.trial import FrozenTrial

    from landmark_ml.config import TrainConfig, TuneConfig
    from landmark_ml.tuning.recording import StudyRun, TrialRun

logger = logging.getLogger(__name__)

_LOOK_EVERY = 1.0


class Runner(Protocol):
    """What trains the configuration of a trial; see `trials.TrialRunner`."""

    def run(
        self, config: TrainConfig, on_epoch_end: Callable[[dict[str, float]], None]
    ) -> dict[str, float]: ...

    def latency_ms(self, config: TrainConfig, cache: Path) -> float: ...

    def size_mb(self, config: TrainConfig) -> float: ...


@dataclass
class Worker:
    """Works on a study; url and name are those of its storage and its lock."""

    config: TuneConfig
    study: Study
    url: str
    parent: StudyRun
    runner: Runner
    _current: int = -1
    _unrecorded: NotRecordedError | None = None
    _silent: SilentTrials = field(init=False)

    def __post_init__(self) -> None:
        self._silent = SilentTrials(2 * self.config.heartbeat)

    def work(self) -> None:
        """Return when the study has its trials or the time is up, and nobody is at a trial.

        A trial that raises is recorded and the next one begun. Ctrl-C queues the trial again, as
        does an MLflow that does not take it.
        """
        deadline = time.monotonic() + 60 * (self.config.minutes or math.inf)
        bar: tqdm[Any] = tqdm(total=self.config.trials or None, desc="tune", unit="trial")
        with bar:
            while True:
                over = time.monotonic() >= deadline
                if not over and self._take_a_trial():
                    self._show(bar)
                elif not self._others_are_busy():
                    break
                else:
                    time.sleep(_LOOK_EVERY)
                    self._show(bar)
            self._show(bar)

    def _take_a_trial(self) -> bool:
        """Run one trial; False when there is none left to begin."""
        with contextlib.ExitStack() as claim:
            # Held until the trial is ours: no two workers begin the last one.
            claim.enter_context(study_lock(self.url, self.study.study_name))
            self._silent.fail(self.study)
            if self.config.trials and len(started(self.study)) >= self.config.trials:
                return False

            def objective(trial: Trial) -> tuple[float, ...]:
                self._current = trial.number
                claim.close()
                return self._run(trial)

            try:
                self.study.optimize(objective, n_trials=1, catch=(Exception,))
            except KeyboardInterrupt:
                self._give_back()
                raise
            except ValueError:
                # What the objective raises is caught: Optuna refused to take the outcome, because
                # this worker was taken for dead, as when its host slept, and its trial was failed.
                lost = self._failed_trial()
                if lost is None:
                    raise
                logger.warning(
                    "trial %d was silent for so long that it was given away", lost.number
                )
                if RUN_ID in lost.user_attrs:
                    end_silent_trial(lost.user_attrs[RUN_ID])
            if self._unrecorded is not None:
                # No fault of the trial, and the next ones would fail as fast as they are drawn.
                self._give_back()
                raise self._unrecorded
        return True

    def _give_back(self) -> None:
        """Queue the trial again that was interrupted, for the next session."""
        interrupted = self._failed_trial()
        if interrupted is not None:
            queue_again(self.study, interrupted)

    def _failed_trial(self) -> FrozenTrial | None:
        """The trial this worker was last at, if it counts as failed."""
        failed = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return next((trial for trial in failed if trial.number == self._current), None)

    def _others_are_busy(self) -> bool:
        with study_lock(self.url, self.study.study_name):
            self._silent.fail(self.study)
            return bool(running(self.study))

    def _run(self, trial: Trial) -> tuple[float, ...]:
        config = suggest_config(trial, self.config)
        tags = {"study": self.study.study_name, "trial": str(trial.number)}
        if RETRY_OF in trial.user_attrs:
            tags[RETRY_OF] = str(trial.user_attrs[RETRY_OF])
        try:
            run = self.parent.start_trial(trial.number, config, tags)
        except NotRecordedError as error:
            self._unrecorded = error
            raise
        try:
            trial.set_user_attr(RUN_ID, run.run_id)
            metrics = self._train(trial, config, run)
        except TrialPruned:
            run.end("pruned", {})
            raise
        except KeyboardInterrupt:
            run.end("interrupted", {})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            logger.warning("trial %d failed: %s", trial.number, reason)
            run.end("failed", {}, reason)
            trial.set_user_attr("error", reason)
            raise
        run.end("complete", metrics)
        return tuple(metrics[name] for name in self._objectives())

    def _train(self, trial: Trial, config: TrainConfig, run: TrialRun) -> dict[str, float]:
        """Metrics of the trained configuration, those that the objectives name among them."""
        watch = _Watch(self.config, trial, run)
        metrics = self.runner.run(config, watch.on_epoch_end)
        if "latency" in self.config.objectives:
            metrics["latency_ms"] = self.runner.latency_ms(config, user_path(config.cache_dir))
        if "size" in self.config.objectives:
            metrics["size_mb"] = self.runner.size_mb(config)
        for name, value in metrics.items():
            trial.set_user_attr(name, value)
        return metrics

    def _objectives(self) -> list[str]:
        names = {"top1": "val/top1", "latency": "latency_ms", "size": "size_mb"}
        return [names[name] for name in self.config.objectives.split(",")]

    def _show(self, bar: tqdm[Any]) -> None:
        """Progress over all workers, on the terminal and in the parent run."""
        done = len(started(self.study)) - len(running(self.study))
        with contextlib.suppress(ValueError):
            best = best_trial(self.study)
            bar.set_postfix_str(f"best top-1 {best.values[0]:.4f} (trial {best.number})")
            if done > bar.n:
                progress = {"tune/best_top1": best.values[0], "tune/trials": float(done)}
                self.parent.log(progress, step=done)
        bar.update(done - bar.n)


@dataclass
class _Watch:
    """Follows the epochs of a trial: logs them, and ends it when the pruner sees no hope."""

    config: TuneConfig
    trial: Trial
    run: TrialRun
    _phase: int = 0

    def on_epoch_end(self, metrics: dict[str, float]) -> None:
        self.run.add(metrics)
        epoch = int(metrics["epoch"])
        self._phase += epoch == 0
        # The head before a fine-tuning says little of how that will end.
        last = self._phase == 1 + bool(self.config.epochs and self.config.finetune_epochs)
        if self.config.prunes() == "none" or not last or "val/top1" not in metrics:
            return
        self.trial.report(metrics["val/top1"], epoch)
        if self.trial.should_prune():
            raise TrialPruned(f"after epoch {epoch}")
