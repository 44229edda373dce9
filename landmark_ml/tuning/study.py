"""A study and its trials: which count, which are retried, which is the best."""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from landmark_ml.config import LOCAL_TO_A_WORKER
from landmark_ml.data import manifest_digest
from landmark_ml.tuning.recording import TrialRun
from landmark_ml.tuning.space import kept_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from landmark_ml.config import TuneConfig
    from landmark_ml.data import Dataset

logger = logging.getLogger(__name__)

RETRY_OF, RUN_ID, DEATHS = "retry_of", "run_id", "deaths"
"""User attributes of a trial: the number of the trial it retries, its MLflow run (empty until that
is created), and how many processes died in a row on these parameters."""
_MOST_DEATHS = 3
_RANDOM_TRIALS = 20
_REDUCTION = 3


class StudyError(ValueError):
    """A study that cannot continue; the message says why and what to do."""


def open_study(config: TuneConfig, storage: BaseStorage, worker: int) -> Study:
    """Open the study that the configuration names, or create it.

    worker: how many workers joined before this one; it seeds the sampler, so that no two workers
    draw the same parameters. Raises StudyError when the study has other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = kept_params(config)
    pruner: BasePruner = NopPruner()
    if config.prunes() == "hyperband":
        most = config.finetune_epochs or config.epochs
        pruner = HyperbandPruner(min_resource=1, max_resource=most, reduction_factor=_REDUCTION)
    elif config.prunes() == "halving":
        pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler: BaseSampler = TPESampler(
            seed=config.seed + worker,
            n_startup_trials=_RANDOM_TRIALS,
            multivariate=True,
            group=True,
            # Running trials count as bad ones, so that workers try different places.
            constant_liar=True,
        )
        sampler = PartialFixedSampler(kept, sampler) if kept else sampler
        others = config.objectives.count(",")
        try:
            return optuna.create_study(
                storage=storage,
                study_name=config.study,
                directions=[StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * others],
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
        except ValueError as error:
            raise StudyError(f"study {config.study!r} cannot continue: {error}") from error


def check_same_search(study: Study, config: TuneConfig, folds: Sequence[Dataset]) -> None:
    """Remember what a new study searches; refuse to continue another study with a new search.

    Raises StudyError that names what differs.
    """
    chosen = {k: v for k, v in asdict(config).items() if k not in LOCAL_TO_A_WORKER}
    searched = chosen | {"photos": [manifest_digest(fold) for fold in folds]}
    known = study.user_attrs.get("searched")
    if known is None:
        study.set_user_attr("searched", searched)
        return
    # A study from before a field was added searched with the field's default.
    known = {name: getattr(type(config), name) for name in chosen} | known
    searched = json.loads(json.dumps(searched))
    gone = [f"{name} {value!r}" for name, value in known.items() if name not in searched]
    if gone:
        raise StudyError(
            f"study {study.study_name!r} was started by another version of this project, with"
            f" {', '.join(gone)}, which this version does not have; start a study with another"
            " name, or continue this one with that version"
        )
    differ = [name for name in sorted(searched) if known[name] != searched[name]]
    if differ:
        then = ["the photos" if n == "photos" else f"{n} {known[n]!r}" for n in differ]
        raise StudyError(
            f"study {study.study_name!r} was started with {', '.join(then)}; give the same again,"
            " or another name"
        )


def claim_trial(study: Study, storage: RDBStorage) -> Trial:
    """Start the next trial, with its first heartbeat. The caller holds the lock of the study."""
    with warnings.catch_warnings():
        # Optuna warns that only its own loop sends heartbeats; `storage.heartbeats` does so here.
        warnings.simplefilter("ignore", UserWarning)
        trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr(RUN_ID, "")
    return trial


def fail_dead_trials(study: Study) -> None:
    """Fail and retry trials whose process died. The caller holds the lock of the study."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in running(study):
        # Optuna ignores trials without a heartbeat. Nobody claims a trial now, so the process that
        # started this one died before it had claimed it.
        if RUN_ID not in trial.user_attrs:
            retry(study, study.tell(trial.number, state=TrialState.FAIL))


def retry(study: Study, trial: FrozenTrial) -> None:
    """Queue the parameters of a trial whose process died, and close its MLflow run.

    The third death in a row ends it: these parameters would kill every worker.
    """
    deaths = trial.user_attrs.get(DEATHS, 0) + 1
    if deaths < _MOST_DEATHS:
        queue_again(study, trial, deaths)
    else:
        logger.warning("trial %d: gave up after it killed %d processes", trial.number, deaths)
    if trial.user_attrs.get(RUN_ID):
        TrialRun(trial.user_attrs[RUN_ID]).end("failed", error="its process died")


def queue_again(study: Study, trial: FrozenTrial, deaths: int = 0) -> None:
    """Queue the parameters of a trial for the next worker that is free."""
    logger.warning("trial %d did not finish and will be tried again", trial.number)
    params = trial.system_attrs.get("fixed_params", {}) | trial.params
    study.enqueue_trial(params, user_attrs={RETRY_OF: trial.number, DEATHS: deaths})


def running(study: Study) -> list[FrozenTrial]:
    """Trials that a worker is training."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def started(study: Study) -> list[FrozenTrial]:
    """Trials that count: those that began and were not retried."""
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [t for t in trials if t.state != TrialState.WAITING and t.number not in retried]


def summary(study: Study) -> dict[str, int]:
    """Number of trials that count, by state."""
    return dict(sorted(Counter(trial.state.name.lower() for trial in started(study)).items()))


def best_trial(study: Study) -> FrozenTrial:
    """Trial with the highest val/top1, and among equals the lowest val/calibrated_loss.

    Raises StudyError when no trial was completed.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        why = failed[-1].user_attrs.get("error", "it was interrupted") if failed else "none began"
        raise StudyError(f"study {study.study_name!r} has no completed trial; the last one: {why}")
    return max(done, key=lambda trial: (trial.values[0], -trial.user_attrs["val/calibrated_loss"]))
