"""A study and its trials: how many are left, which are given another try, which is the best."""

from __future__ import annotations

import json
import logging
import time
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from landmark_ml.config import LOCAL_TO_A_WORKER, default_of
from landmark_ml.data import manifest_digest
from landmark_ml.tuning.recording import end_silent_trial
from landmark_ml.tuning.space import kept_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from landmark_ml.config import TuneConfig
    from landmark_ml.data import Dataset

logger = logging.getLogger(__name__)

RETRY_OF, RUN_ID, DEATHS = "retry_of", "run_id", "deaths"
_MOST_DEATHS = 3
_RANDOM_TRIALS = 20
_REDUCTION = 3


class StudyError(ValueError):
    """A study that cannot be gone on with; the message says why and what to do."""


def open_study(config: TuneConfig, name: str, storage: BaseStorage, worker: int) -> Study:
    """Study of a name, new or as its workers left it.

    worker: how many workers joined before this one, so that no two draw the same.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = kept_params(config)
    maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [maximize] + [minimize] * config.objectives.count(",")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler: BaseSampler = TPESampler(
            seed=config.seed + worker,
            n_startup_trials=_RANDOM_TRIALS,
            multivariate=True,
            group=True,
            # Trials that others are at count too, so that workers spread out.
            constant_liar=True,
        )
        sampler = PartialFixedSampler(kept, sampler) if kept else sampler
        try:
            return optuna.create_study(
                storage=storage,
                study_name=name,
                directions=directions,
                sampler=sampler,
                pruner=_create_pruner(config),
                load_if_exists=True,
            )
        except ValueError as error:
            raise StudyError(f"study {name!r} cannot be gone on with: {error}") from error


def check_same_search(study: Study, config: TuneConfig, folds: Sequence[Dataset]) -> None:
    """Remember what a new study searches; of an older one, refuse to search something else.

    Raises StudyError that names what differs.
    """
    chosen = {k: v for k, v in asdict(config).items() if k not in LOCAL_TO_A_WORKER}
    searched = chosen | {"photos": [manifest_digest(fold) for fold in folds]}
    known = study.user_attrs.get("searched")
    if known is None:
        study.set_user_attr("searched", searched)
        return
    # A field that was added since the study began had no other value than its default.
    known = {name: default_of(type(config), name) for name in chosen} | known
    searched = json.loads(json.dumps(searched))
    gone = [f"{name} {value!r}" for name, value in known.items() if name not in searched]
    if gone:
        raise StudyError(
            f"study {study.study_name!r} was started by another version of this project, with"
            f" {', '.join(gone)}, which this one does not know; begin a study of another name, or"
            " go on with it from that version"
        )
    differ = [name for name in sorted(searched) if known.get(name) != searched[name]]
    if differ:
        told = ", ".join(
            "the photos" if name == "photos" else f"{name} {known.get(name)!r}" for name in differ
        )
        raise StudyError(
            f"study {study.study_name!r} was started with {told}; give the same again, or another"
            " name"
        )


def retry(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial again whose process died, and close its run.

    The third death in a row ends it: parameters that kill their process would kill every worker.
    """
    deaths = trial.user_attrs.get(DEATHS, 0) + 1
    if deaths < _MOST_DEATHS:
        queue_again(study, trial, deaths)
    else:
        logger.warning("trial %d has ended %d processes and is given up", trial.number, deaths)
    if RUN_ID in trial.user_attrs:
        end_silent_trial(trial.user_attrs[RUN_ID])


def queue_again(study: Study, trial: FrozenTrial, deaths: int = 0) -> None:
    """Queue the parameters of a trial for whichever worker comes next."""
    logger.warning("trial %d did not end; it is tried again", trial.number)
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={
                key: value for key, value in trial.system_attrs.items() if key == "fixed_params"
            },
            user_attrs={RETRY_OF: trial.number, DEATHS: deaths},
        )
    )


@dataclass
class SilentTrials:
    """Trials whose process died, before its first sign of life too.

    grace: seconds that a trial has to give one, from when this worker first saw it. When it began
    is no measure: the storage holds local times, and workers may stand in other time zones.
    """

    grace: float
    _first_seen: dict[int, float] = field(default_factory=dict)

    def fail(self, study: Study) -> None:
        """Fail and retry them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        now = time.monotonic()
        for trial in running(study):
            since = self._first_seen.setdefault(trial.number, now)
            if RUN_ID not in trial.user_attrs and now - since > self.grace:
                study.tell(trial.number, state=TrialState.FAIL)
                retry(study, trial)


def running(study: Study) -> list[FrozenTrial]:
    """Trials that some worker is at."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def started(study: Study) -> list[FrozenTrial]:
    """Trials that count: begun, and not begun again later."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [
        trial for trial in trials if trial.state != TrialState.WAITING and trial.number not in again
    ]


def best_trial(study: Study) -> FrozenTrial:
    """Trial of the highest val/top1, of the lowest val/calibrated_loss among equals.

    Raises StudyError when none was completed.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        why = failed[-1].user_attrs.get("error", "it was interrupted") if failed else "none began"
        raise StudyError(f"study {study.study_name!r} has no completed trial; the last one: {why}")
    return max(done, key=lambda trial: (trial.values[0], -trial.user_attrs["val/calibrated_loss"]))


def summary(study: Study) -> dict[str, Any]:
    """How many trials of each state count, by name."""
    states = [trial.state.name.lower() for trial in started(study)]
    return {state: states.count(state) for state in sorted(set(states))}


def _create_pruner(config: TuneConfig) -> BasePruner:
    kind = config.prunes()
    if kind == "hyperband":
        most = config.finetune_epochs or config.epochs
        return HyperbandPruner(min_resource=1, max_resource=most, reduction_factor=_REDUCTION)
    if kind == "halving":
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)
    return NopPruner()
