"""A whole search: join or start the study, run its trials, then train and test the best one.

It ends with a report in the parent run: the best trials, what mattered, and the command that trains
the best configuration.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FixedTrial

from landmark_ml.config import TrainConfig, TuneConfig, repeated, user_path
from landmark_ml.data import Dataset
from landmark_ml.data.opening import open_dataset
from landmark_ml.data.places import open_gazetteer
from landmark_ml.figures.html import render
from landmark_ml.networks.create import check_known
from landmark_ml.registry.register import register, version_of_run
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.errors import is_outage, short_waits
from landmark_ml.tracking.read_runs import EVALUATION, differing_params
from landmark_ml.training.checkpoint import config_digest
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.run import check_splits, run_training
from landmark_ml.tuning.recording import BEST_TRIAL, StudyRun, open_study_run
from landmark_ml.tuning.space import (
    kept_params,
    searched_backbones,
    starting_params,
    suggest_config,
)
from landmark_ml.tuning.study import (
    OUTAGES,
    StudyError,
    best_first,
    best_trial,
    check_same_search,
    open_storage,
    open_study,
    reason,
    retry,
    running,
    started,
    storage_url,
    study_lock,
    summary,
)
from landmark_ml.tuning.worker import OBJECTIVES, TrialRunner, Worker

logger = logging.getLogger(__name__)

_PARENT, _WORKERS = "parent_run", "workers"
_FEWEST_FOR_IMPORTANCE = 30
_TRIALS_SHOWN = 8


@dataclass(frozen=True)
class Winner:
    """The model of the best trial. version: 0 when it is not registered; registered: its name."""

    trial: int
    run_id: str
    model_uri: str
    metrics: dict[str, float]
    registered: str
    version: int


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    counts: trials by state. params: the best trial's, as drawn from the space. command: trains
    them again.
    """

    study: str
    location: str
    counts: dict[str, int]
    best_top1: float
    params: dict[str, Any]
    command: str
    winner: Winner


def run_tuning(config: TuneConfig) -> TuneResult:
    """Search until the study has its trials or the time is up; see `TuneConfig`.

    Several processes may call this for one study, on one host or many: they share its trials and
    its parent run, and one of them trains and tests the winner. Raises ValueError for a
    configuration or dataset that cannot be searched, and for a study that cannot continue.
    """
    name = config.study or f"tune-{datetime.now():%Y%m%d-%H%M%S}"
    config = replace(config, study=name)
    # Find mistakes now, not after the photos were read or in the middle of the search.
    _storage_url(config)
    for backbone in filter(None, (*searched_backbones(config), config.teacher)):
        check_known(backbone)
    kept_params(config)
    compute = choose_compute(config.device, config.threads, precision=config.precision)
    dataset = open_dataset(config)
    check_splits(dataset)
    open_gazetteer(dataset, config.places)
    worker = join_study(config, dataset, TrialRunner(dataset, compute))
    study, parent = worker.study, worker.parent
    logger.info("study %s; continue it with study=%s", name, name)
    with closing(config, study, parent):
        worker.work()
        with study_lock(worker.storage.url, name):
            winner = conclude(config, study, parent)
    best = best_trial(study)
    return TuneResult(
        name,
        tracking.Run(parent.run_id).location,
        summary(study),
        best.user_attrs["val/top1"],
        dict(best.params),
        reproduce(winning_config(config, study)),
        winner,
    )


def join_study(config: TuneConfig, dataset: Dataset, runner: TrialRunner) -> Worker:
    """Worker of the study that the configuration names; the first worker creates the study.

    Raises ValueError for a database that cannot be used or fails, and for a study that cannot
    continue.
    """
    url = _storage_url(config)
    storage = open_storage(url, config.heartbeat, retry)
    with _outage_explained(config.study):
        with study_lock(url, config.study):
            study = open_study(config, storage, worker=0)
            check_same_search(study, config, dataset)
            known = study.user_attrs.get(_PARENT)
            parent = open_study_run(config, known)
            if known is None:
                study.set_user_attr(_PARENT, parent.run_id)
                # The first trial is what the user has today.
                study.enqueue_trial(starting_params(config))
            worker = study.user_attrs.get(_WORKERS, -1) + 1
            study.set_user_attr(_WORKERS, worker)
            parent.mark("RUNNING")
        study = open_study(config, storage, worker)
    return Worker(config, study, storage, parent, runner)


def conclude(config: TuneConfig, study: Study, parent: StudyRun) -> Winner:
    """Report a study, and train and test its best configuration, unless that was done before.

    The caller holds the lock of the study. Raises StudyError when no trial was completed.
    """
    number, chosen = best_trial(study).number, winning_config(config, study)
    digest = config_digest(chosen)
    log_report(config, study, parent)
    tested = parent.find_test(number, digest, user_path(chosen.cache_dir))
    if tested is None or tested.info.status != "FINISHED":
        result = run_training(
            replace(chosen, resume=tested.info.run_id if tested else ""),
            nominate=partial(register, only_challenger=True),
            tags=parent.test_tags(number),
        )
        tested = mlflow.get_run(result.run_id)
    logged = {k: v for k, v in tested.data.metrics.items() if k.startswith("test/")}
    parent.log(logged, len(started(study)))
    judged = mlflow.artifacts.load_dict(f"{tested.info.artifact_uri}/{EVALUATION}")["metrics"]
    metrics = {f"test/{name}": value for name, value in judged.items()}
    parent.set_tags({"best_run": tested.info.run_id})
    model = tested.outputs.model_outputs[-1]  # type: ignore[union-attr]
    version = version_of_run(chosen.model, tested.info.run_id) if chosen.model else 0
    winner = Winner(
        number,
        tested.info.run_id,
        f"models:/{model.model_id}",
        metrics,
        chosen.model if version else "",
        version,
    )
    log_report(config, study, parent, winner)
    parent.mark("RUNNING" if running(study) else "FINISHED")
    return winner


@contextlib.contextmanager
def closing(config: TuneConfig, study: Study, parent: StudyRun) -> Iterator[None]:
    """When a worker fails, leave a report and the right status in the parent run.

    Raises StudyError, which says how to continue, in place of a database error.
    """
    try:
        with _outage_explained(study.study_name):
            yield
    except BaseException as error:
        # What ended the search is raised, whatever else is out.
        with short_waits(retries=0 if is_outage(error) else 3, timeout=30):
            with contextlib.suppress(StudyError, MlflowException, *OUTAGES):
                log_report(config, study, parent)
            others = False
            with contextlib.suppress(*OUTAGES):
                others = bool(running(study))
            if not others:
                with contextlib.suppress(MlflowException):
                    parent.mark("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        if isinstance(error, KeyboardInterrupt | MlflowException):
            logger.warning("study %s stops here; continue it with study=%s", *[config.study] * 2)
        raise


def winning_config(config: TuneConfig, study: Study) -> TrainConfig:
    """Configuration of the best trial, refitted and registered as the user said.

    Raises StudyError when no trial was completed.
    """
    values = suggest_config(FixedTrial(best_trial(study).params), config)
    return replace(values, refit=config.refit, model=config.model)


def reproduce(config: TrainConfig) -> str:
    """Command that trains a configuration again."""
    return f"make transfer{repeated(config, TrainConfig())}"


def log_report(
    config: TuneConfig, study: Study, parent: StudyRun, winner: Winner | None = None
) -> None:
    """Log what the trials showed so far, and the tested winner where there is one.

    Raises StudyError when no trial was completed.
    """
    best, count = best_trial(study), len(started(study))
    command = reproduce(winning_config(config, study))
    objective = OBJECTIVES[config.objective]
    counts = ", ".join(f"{number} {state}" for state, number in summary(study).items())
    top1 = best.user_attrs["val/top1"]
    headline = (
        f"{counts}; best {objective} {best.value:.4f} (val/top1 {top1:.3f}) in trial {best.number}"
    )
    texts = {
        "study.html": study_page(study, objective, f"{headline}.", command, winner),
        "trials.csv": study.trials_dataframe().to_csv(index=False),
        "reproduce.sh": command + "\n",
    }
    for path, text in texts.items():
        mlflow.MlflowClient().log_text(parent.run_id, text, path)
    totals = {"tune/best_top1": top1, "tune/best_value": best.value or 0.0, "tune/trials": count}
    totals |= {f"tune/{state}": number for state, number in summary(study).items()}
    parent.log({name: float(value) for name, value in totals.items()}, count)
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in best.params.items())
    note = (
        f"{headline}.\n\n| parameter | value |\n|---|---|\n{rows}\n\n"
        f"Train it again:\n\n```sh\n{command}\n```\n"
    )
    parent.set_tags({BEST_TRIAL: str(best.number), MLFLOW_RUN_NOTE: note})


def study_page(
    study: Study, objective: str, headline: str, command: str, winner: Winner | None = None
) -> str:
    """HTML page of a study with a completed trial: the winner's test, the best trials, what counts.

    objective: caption of the values, such as `val/top1`. winner: None while it is not tested.
    """
    done = best_first(study)
    shown, importance = done[:_TRIALS_SHOWN], dict[str, float]()
    drawn = [
        {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in trial.params.items()}
        for trial in shown
    ]
    if len(done) >= _FEWEST_FOR_IMPORTANCE and len({trial.value for trial in done}) > 1:
        evaluator = FanovaImportanceEvaluator(seed=0)
        importance = get_param_importances(study, evaluator=evaluator)
    return render(
        "study.html",
        name=study.study_name,
        headline=headline,
        command=command,
        winner=winner,
        page=tracking.Run(winner.run_id).location if winner else "",
        trials=[f"#{trial.number}" for trial in shown],
        reached={objective: [f"{trial.value:.4g}" for trial in shown]},
        params=differing_params(drawn),
        importance=[(name, [f"{share:.0%}"]) for name, share in importance.items()],
    )


def _storage_url(config: TuneConfig) -> str:
    tracking.connect()
    return storage_url(config.storage, mlflow.get_tracking_uri())


@contextlib.contextmanager
def _outage_explained(study: str) -> Iterator[None]:
    try:
        yield
    except OUTAGES as error:
        raise StudyError(
            f"the database of study {study!r} failed: {reason(error)}; once it is back,"
            f" continue with study={study}"
        ) from error
