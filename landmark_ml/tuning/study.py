"""A study: its database and lock, what it searches, which trials count and which are retried.

Workers on one host share a SQLite file; workers on many hosts share a PostgreSQL database. Optuna's
storage has heartbeats but no lock, and only with a lock does a study start exactly the trials it
was asked for and test its winner once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from landmark_ml.config import LOCAL_TO_A_WORKER, TuneConfig, without_users
from landmark_ml.data import Dataset, manifest_digest
from landmark_ml.tuning.recording import TrialRun
from landmark_ml.tuning.space import kept_params

logger = logging.getLogger(__name__)

RETRY_OF, RUN_ID, DEATHS = "retry_of", "run_id", "deaths"
"""User attributes of a trial: the number of the trial it retries, its MLflow run (empty until that
is created), and how many processes died in a row on these parameters."""
_MOST_DEATHS = 3
_RANDOM_TRIALS = 20
OUTAGES = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
"""What is raised when the database of a study fails: by Optuna's storage, and by the lock."""
_SQLITE = "sqlite:///"
_SQLITE_LOCK_SECONDS = 60.0
# A worker holds the lock for about 20 ms to claim a trial. If dozens of workers ask for the lock
# more often than this, they slow down the one that has it.
_LOCK_POLL_SECONDS = 0.25


class StudyError(ValueError):
    """A study that cannot continue; the message says why and what to do."""


def storage_url(storage: str, tracking_uri: str) -> str:
    """Address of the database of studies; empty: `studies.db` beside the MLflow database.

    Raises ValueError for a database that is neither SQLite nor PostgreSQL, and for MLflow's own.
    """
    if not storage:
        is_file = tracking_uri.startswith(_SQLITE)
        beside = Path(tracking_uri.removeprefix(_SQLITE)) if is_file else Path()
        return f"{_SQLITE}{beside.parent / 'studies.db'}"
    if not storage.startswith(("postgresql://", "postgresql+", _SQLITE)):
        raise ValueError(
            f"storage {without_users(storage)!r} is neither postgresql://… nor sqlite:///…; workers"
            " on several hosts need PostgreSQL"
        )
    if without_users(storage) == without_users(tracking_uri):
        raise ValueError(
            f"storage is the database of MLflow, {without_users(storage)}; both need a table of the"
            " same name: give the study a database of its own on the same server"
        )
    # The driver that the extra `postgres` installs, whatever SQLAlchemy would choose.
    return storage.replace("postgresql://", "postgresql+psycopg://", 1)


def open_storage(
    url: str, heartbeat: int, on_dead: Callable[[Study, FrozenTrial], None]
) -> RDBStorage:
    """Open the storage; on_dead gets each trial that is failed because its heartbeat stopped.

    heartbeat: seconds between heartbeats. Raises ValueError when the database cannot be reached.
    """
    if url.startswith("sqlite"):
        Path(url.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"connect_args": {"timeout": _SQLITE_LOCK_SECONDS}}
    else:
        # Keep one connection: Optuna asks dozens of times per trial, and connecting is slow.
        options = {"pool_size": 1, "pool_pre_ping": True}
    try:
        # Workers that start at the same time must not create the tables twice.
        with study_lock(url, "tables"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                heartbeat_stale_trial_callback=on_dead,
            )
    except ImportError:
        raise ValueError(
            f"storage {without_users(url)} needs a driver: pip install -e '.[postgres]'"
        ) from None
    except OUTAGES as error:
        raise ValueError(f"storage {without_users(url)} cannot be used: {reason(error)}") from error


@contextlib.contextmanager
def study_lock(url: str, study: str) -> Iterator[None]:
    """Hold the lock of a study, shared by all its workers; a process that dies releases it."""
    digest = hashlib.sha256(study.encode()).digest()
    if url.startswith("sqlite"):
        file = f"{url.removeprefix(_SQLITE)}.{digest.hex()[:12]}.lock"
        with FileLock(file, poll_interval=_LOCK_POLL_SECONDS):
            yield
        return
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
    )
    # The server releases the lock when the connection closes.
    with engine.connect() as connection:
        key = int.from_bytes(digest[:8], signed=True)
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


@contextlib.contextmanager
def heartbeats(storage: RDBStorage, trial: Trial) -> Iterator[None]:
    """Send the heartbeats of a trial while the block runs, through outages of the database."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(storage.heartbeat_interval):
            try:
                storage.record_heartbeat(trial._trial_id)
            except OUTAGES as error:
                logger.warning("trial %d sent no heartbeat: %s", trial.number, reason(error))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def reason(outage: Exception) -> str:
    """What the database said; Optuna's own message speaks of invalid data, whatever happened."""
    return str(outage.__cause__ or outage).strip().splitlines()[0]


def open_study(config: TuneConfig, storage: BaseStorage, worker: int) -> Study:
    """Open the study that the configuration names, or create it.

    worker: how many workers joined before this one; it seeds the sampler, so that no two workers
    draw the same parameters. Raises StudyError when the study has another objective.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = kept_params(config)
    pruner: BasePruner = NopPruner()
    if config.space == "finetune":
        pruner = HyperbandPruner(max_resource=config.finetune_epochs)
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
        try:
            return optuna.create_study(
                storage=storage,
                study_name=config.study,
                direction="maximize" if config.objective == "top1" else "minimize",
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
        except ValueError as error:
            raise StudyError(f"study {config.study!r} cannot continue: {error}") from error


def check_same_search(study: Study, config: TuneConfig, dataset: Dataset) -> None:
    """Remember what a new study searches; refuse to continue another study with a new search.

    Raises StudyError that names what differs.
    """
    chosen = {k: v for k, v in asdict(config).items() if k not in LOCAL_TO_A_WORKER}
    searched = chosen | {"photos": manifest_digest(dataset)}
    known = study.user_attrs.get("searched")
    if known is None:
        study.set_user_attr("searched", searched)
        return
    searched = json.loads(json.dumps(searched))
    names = sorted(known.keys() | searched.keys())
    differ = [name for name in names if known.get(name) != searched.get(name)]
    if differ:
        then = ["the photos" if n == "photos" else f"{n} {known.get(n)!r}" for n in differ]
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


def best_first(study: Study) -> list[FrozenTrial]:
    """Completed trials, the best at the objective first; of equals, the lowest calibrated loss."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    return sorted(
        done, key=lambda t: (sign * (t.value or 0.0), t.user_attrs.get("val/calibrated_loss", 0.0))
    )


def best_trial(study: Study) -> FrozenTrial:
    """The first of them. Raises StudyError when no trial was completed."""
    if done := best_first(study):
        return done[0]
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    why = failed[-1].user_attrs.get("error", "it was interrupted") if failed else "none began"
    raise StudyError(f"study {study.study_name!r} has no completed trial; the last one: {why}")
