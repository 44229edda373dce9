"""A whole search: join or begin the study, work on it, and conclude it."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from landmark_ml.data import open_folds
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.networks.create import check_known
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.run import check_sides
from landmark_ml.tuning import recording
from landmark_ml.tuning.conclusion import conclude, report, reproduce, winning_config
from landmark_ml.tuning.space import kept_params, searched_backbones, starting_params
from landmark_ml.tuning.storage import open_storage, storage_url, study_lock
from landmark_ml.tuning.study import (
    StudyError,
    best_trial,
    check_same_search,
    open_study,
    retry,
    running,
    summary,
)
from landmark_ml.tuning.trials import TrialRunner
from landmark_ml.tuning.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.study import Study

    from landmark_ml.config import TuneConfig
    from landmark_ml.data import Dataset
    from landmark_ml.tuning.conclusion import Winner
    from landmark_ml.tuning.recording import StudyRun
    from landmark_ml.tuning.worker import Runner

logger = logging.getLogger(__name__)

_PARENT, _WORKERS = "parent_run", "workers"
# The second is what the lock of the study raises.
_OUTAGES = (StorageInternalError, SQLAlchemyError)


@dataclass(frozen=True)
class TuneResult:
    """What a search found: the best trial, and the model that was made of it.

    counts: trials of each state. params: what the space chose. command: trains it again.
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
    its parent run, and one of them concludes it. Raises ValueError for a configuration or dataset
    that cannot be searched, and for a study of something else.
    """
    name = config.study or f"tune-{datetime.now():%Y%m%d-%H%M%S}"
    # Mistakes now, not once the photos were read or in the trial that first draws a backbone.
    storage_url(config.storage, recording.tracking_uri())
    for backbone in searched_backbones(config):
        check_known(backbone)
    kept_params(config)
    compute = choose_compute(config.device, config.threads)
    folds = open_folds(config, config.folds)
    _check_winner(config, folds)
    worker = join_study(replace(config, study=name), folds, TrialRunner(folds, compute))
    study, parent = worker.study, worker.parent
    logger.info("study %s; go on with it by study=%s", name, name)
    with _left_consistent(config, study, parent):
        worker.work()
        with study_lock(worker.url, name):
            winner = conclude(config, study, parent)
    best = best_trial(study)
    return TuneResult(
        name,
        parent.location,
        summary(study),
        best.values[0],
        dict(best.params),
        reproduce(winning_config(config, best)),
        winner,
    )


def _check_winner(config: TuneConfig, folds: Sequence[Dataset]) -> None:
    """Refuse now what the training of the winner would refuse after the whole search."""
    for fold in folds:
        check_sides(fold)
    Gazetteer.of_dataset(folds[0].root, config.places)


def join_study(config: TuneConfig, folds: Sequence[Dataset], runner: Runner) -> Worker:
    """Worker of the study that the configuration names, which is begun where there is none.

    Raises ValueError for a storage that cannot be used or fails, and for a study of something else.
    """
    url = storage_url(config.storage, recording.tracking_uri())
    storage = open_storage(url, config.heartbeat, retry)
    with _outage_told(config.study):
        with study_lock(url, config.study):
            study = open_study(config, config.study, storage, worker=0)
            parent = _join(config, study, folds)
            worker = int(study.user_attrs[_WORKERS])
        study = open_study(config, config.study, storage, worker)
    return Worker(config, study, url, parent, runner)


def _join(config: TuneConfig, study: Study, folds: Sequence[Dataset]) -> StudyRun:
    """Parent run of the study, made by the first worker; the lock of the study is held."""
    check_same_search(study, config, folds)
    launched = recording.take_launched()
    known = study.user_attrs.get(_PARENT)
    if known is not None:
        parent = recording.join_study_run(known, study.study_name, launched)
    else:
        parent = recording.create_study_run(config, study.study_name, launched)
        study.set_user_attr(_PARENT, parent.run_id)
        # What the user has today is the one to beat.
        study.enqueue_trial(starting_params(config))
    study.set_user_attr(_WORKERS, study.user_attrs.get(_WORKERS, -1) + 1)
    parent.mark("RUNNING")
    return parent


@contextlib.contextmanager
def _left_consistent(config: TuneConfig, study: Study, parent: StudyRun) -> Iterator[None]:
    """However a worker ends, the parent run says what is so: others may still be at it."""
    try:
        with _outage_told(study.study_name):
            yield
    except BaseException as error:
        try:
            if not _others_are_at_it(config, study, parent):
                parent.mark("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        except recording.NotRecordedError as refused:
            logger.warning("run %s does not say how this ended: %s", parent.run_id, refused)
        if isinstance(error, KeyboardInterrupt | recording.NotRecordedError):
            logger.warning("study %s stops here; study=%s goes on with it", *[study.study_name] * 2)
        raise


@contextlib.contextmanager
def _outage_told(study: str) -> Iterator[None]:
    """A database that fails under a study ends in a sentence that says how to go on."""
    try:
        yield
    except _OUTAGES as error:
        raise StudyError(
            f"the database of study {study!r} failed: {_reason(error)}; once it is back,"
            f" study={study} goes on with it"
        ) from error


def _others_are_at_it(config: TuneConfig, study: Study, parent: StudyRun) -> bool:
    """Report what the trials showed so far; whether other workers go on with some."""
    try:
        _report_so_far(config, study, parent)
        return bool(running(study))
    except _OUTAGES as error:
        # A worker that still reaches the database marks the run as running with its next trial.
        logger.warning("trials of study %s cannot be read: %s", study.study_name, _reason(error))
        return False


def _report_so_far(config: TuneConfig, study: Study, parent: StudyRun) -> None:
    try:
        with contextlib.suppress(StudyError):
            command = reproduce(winning_config(config, best_trial(study)))
            report(config, study, parent, command)
    except recording.NotRecordedError as refused:
        logger.warning("run %s lacks the latest trials: %s", parent.run_id, refused)


def _reason(error: Exception) -> str:
    """What the database said; Optuna's own sentence is about invalid data, whatever happened."""
    return str(error.__cause__ or error).strip().splitlines()[0]
