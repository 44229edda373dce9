"""Load the champion of a registered model, and load the next one when the alias moves."""

from __future__ import annotations

import contextlib
import logging
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlflow.artifacts
from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from landmark_ml.inference.predictor import METADATA_FILE, Predictor
from landmark_ml.tracking.errors import find, is_not_there
from landmark_ml.tracking.read_runs import find_run
from landmark_ml.tracking.run import page_of

logger = logging.getLogger(__name__)

ALIAS = "champion"
_MODEL_FOLDER = "artifacts"
_SCRATCH, _HELD = "landmark-ml-", "held.lock"
_LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Loaded:
    """A registered version, loaded: it answers.

    run_id: the run that made it. run_url: its page in the MLflow UI, None where there is none. Take
    it once per request, so that the whole request is answered by one version even if the alias
    moves meanwhile.
    """

    predictor: Predictor
    name: str
    version: int
    run_id: str
    run_url: str | None = None

    @property
    def label(self) -> str:
        """Such as `landmarks/3`."""
        return f"{self.name}/{self.version}"


class Champion:
    """Follows `models:/NAME@champion`. Safe to read from several threads.

    It looks for a moved alias every `poll_seconds`. It loads and warms up the new version while
    the old one still answers, and then replaces it in one assignment. If the version cannot be
    loaded, the alias is missing or the registry is away, the old version goes on answering and
    `problem` says why. It retries, less and less often, at least once a minute.

    current: the version that answers now, within the block.
    """

    current: Loaded

    def __init__(
        self,
        name: str,
        poll_seconds: float = 2.0,
        load: Callable[[ModelVersion], Loaded] | None = None,
    ) -> None:
        self.name = name
        self._poll_seconds = poll_seconds
        self._load = load or load_version
        self._identity: tuple[int, int] | None = None
        # Why `current` may not be what the alias names; None when it is.
        self.problem: str | None = None
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Champion:
        """Load the champion, then follow its alias.

        Raises ValueError when there is none or it cannot be loaded.
        """
        try:
            self._follow()
        except (MlflowException, OSError, ValueError) as error:
            fix = ""
            # Not where the registry was not even reached.
            if isinstance(error, MlflowException) and is_not_there(error):
                fix = f"; register one first: make transfer model={shlex.quote(self.name)}"
            raise ValueError(
                f"the champion of {self.name} cannot be loaded: {_reason(error)}{fix}"
            ) from error
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following the alias; the loaded version goes on answering."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join(timeout=self._poll_seconds + 1)

    def _watch(self) -> None:
        pause = self._poll_seconds
        while not self._closed.wait(pause):
            try:
                self._follow()
            # Whatever is wrong with the next version, this one goes on answering.
            except Exception as error:
                problem = f"{_reason(error)}; version {self.current.version} goes on answering"
                if problem != self.problem:
                    logger.warning("%s: %s", self.name, problem, exc_info=error)
                self.problem = problem
                pause = max(self._poll_seconds, min(2 * pause, _LONGEST_PAUSE_SECONDS))
            else:
                self.problem, pause = None, self._poll_seconds

    def _follow(self) -> None:
        """Load the version that the alias names, unless it is loaded already."""
        named = MlflowClient().get_model_version_by_alias(self.name, ALIAS)
        # The versions of a registered model that was deleted and made again start at 1 again.
        identity = int(named.version), int(named.creation_timestamp)
        if identity == self._identity:
            return
        loaded = self._load(named)
        if self._identity is not None:
            message = "%s: version %d takes over from %d"
            logger.info(message, self.name, loaded.version, self.current.version)
        self.current, self._identity = loaded, identity


def find_version(model: str) -> ModelVersion:
    """Find the registered version that `name`, `name@alias` or `name/version` means.

    Raises ValueError when there is none.
    """
    client = MlflowClient()
    name, slash, number = model.partition("/")
    look_up = partial(client.get_model_version, name, number)
    if not slash:
        name, _, alias = model.partition("@")
        look_up = partial(client.get_model_version_by_alias, name, alias or ALIAS)
    version = find(look_up)
    if version is None:
        raise ValueError(
            f"model={model} is not in the registry; make one with"
            f" make transfer model={shlex.quote(name)}, or name another"
        )
    return version


def load_version(version: ModelVersion, threads: int = 0, ui: str = "") -> Loaded:
    """Load a registered version into memory; nothing of it stays on the disk.

    It answers with the code of this project, also where the version was registered by an older
    one. threads: cores to use; 0: all of them. ui: where `page_of` finds the run. Raises as
    `exported_network` does.
    """
    with exported_network(version) as folder:
        predictor = Predictor.load(folder, threads=threads)
    predictor.warm_up()
    run = find_run(version.run_id) if version.run_id else None
    page = page_of(run.info.run_id, run.info.experiment_id, ui) if run else None
    return Loaded(predictor, version.name, int(version.version), version.run_id or "", page)


@contextlib.contextmanager
def exported_network(version: ModelVersion) -> Iterator[Path]:
    """Download the artifact folder of a registered version; it exists within the block.

    Raises ValueError when the version is not a model of this project, OSError or MlflowException
    when it cannot be read.
    """
    with scratch_folder() as scratch:
        uri = f"models:/{version.name}/{version.version}"
        folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch))
        found = sorted(Path(folder, _MODEL_FOLDER).glob(f"*/{METADATA_FILE}"))
        if len(found) != 1:
            raise ValueError(
                f"version {version.version} of {version.name} holds {len(found)} exported networks"
                " and should hold one; register a model that this project trained"
            )
        yield found[0].parent


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder for the block, and remove those that killed processes left."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*/{_HELD}"):
        # Held, or another user's.
        with contextlib.suppress(OSError), FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as made, FileLock(Path(made, _HELD)):
        yield Path(made)


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
