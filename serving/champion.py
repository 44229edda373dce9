"""Load the champion of a registered model, and load the next one when the alias moves."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from landmark_ml.inference.predictor import METADATA_FILE, Predictor
from landmark_ml.tracking.errors import is_not_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

ALIAS = "champion"
_MODEL_FOLDER = "artifacts"
_LONGEST_PAUSE_SECONDS = 60.0


class ChampionError(ValueError):
    """There is no champion, or it cannot be loaded; the message says why and what to do."""


@dataclass(frozen=True)
class Loaded:
    """A version that answers: its predictor, its number and the run that made it.

    Take it once per request, so that the whole request is answered by one version even if the
    alias moves meanwhile.
    """

    predictor: Predictor
    version: int
    run_id: str


class Champion:
    """Follows `models:/NAME@champion`. Safe to read from several threads.

    It looks for a moved alias every `poll_seconds`. It loads and warms up the new version while
    the old one still answers, and then replaces it in one assignment. If the version cannot be
    loaded, the alias is missing or the registry is away, the old version goes on answering and
    `problem` says why. It retries, less and less often, at least once a minute.
    """

    def __init__(
        self,
        name: str,
        tracking_uri: str | None = None,
        poll_seconds: float = 2.0,
        *,
        load: Callable[[ModelVersion, str | None], Predictor] | None = None,
    ) -> None:
        if poll_seconds <= 0:
            raise ValueError(f"poll_seconds is {poll_seconds}; give a number above 0")
        self.name = name
        self._tracking_uri = tracking_uri
        self._poll_seconds = poll_seconds
        self._load = load or load_predictor
        self._loaded: Loaded | None = None
        self._identity: tuple[int, int] | None = None
        self._problem: str | None = None
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def current(self) -> Loaded:
        """The version that answers now. Raises ChampionError before `start`."""
        if self._loaded is None:
            raise ChampionError(f"the champion of {self.name} is not loaded; call start first")
        return self._loaded

    @property
    def problem(self) -> str | None:
        """Why `current` may not be what the alias names; None when it is."""
        return self._problem

    def start(self) -> Champion:
        """Load the champion, then follow its alias.

        Raises ChampionError when there is none or it cannot be loaded.
        """
        if self._watcher is not None:
            raise RuntimeError(f"the champion of {self.name} is watched already")
        try:
            self._follow()
        except (MlflowException, OSError, ValueError) as error:
            fix = ""
            # Not where the registry was not even reached.
            if isinstance(error, MlflowException) and is_not_there(error):
                command = "mlflow run . --env-manager local -e transfer"
                fix = f"; register one first: {command} -P register={self.name}"
            raise ChampionError(
                f"the champion of {self.name} cannot be loaded: {_reason(error)}{fix}"
            ) from error
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)
        self._watcher.start()
        return self

    def close(self) -> None:
        """Stop following the alias; the loaded version goes on answering."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join(timeout=self._poll_seconds + 1)

    def __enter__(self) -> Champion:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        pause = self._poll_seconds
        while not self._closed.wait(pause):
            try:
                self._follow()
            # Whatever is wrong with the next version, this one goes on answering.
            except Exception as error:
                problem = f"{_reason(error)}; version {self.current.version} goes on answering"
                if problem != self._problem:
                    logger.warning("%s: %s", self.name, problem, exc_info=error)
                self._problem = problem
                pause = max(self._poll_seconds, min(2 * pause, _LONGEST_PAUSE_SECONDS))
            else:
                self._problem, pause = None, self._poll_seconds

    def _follow(self) -> None:
        """Load the version that the alias names, unless it is loaded already."""
        client = MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)
        named = client.get_model_version_by_alias(self.name, ALIAS)
        # The versions of a registered model that was deleted and made again start at 1 again.
        identity = int(named.version), int(named.creation_timestamp)
        if identity == self._identity:
            return
        predictor = self._load(named, self._tracking_uri)
        before, self._identity = self._loaded, identity
        self._loaded = Loaded(predictor, int(named.version), named.run_id or "")
        if before is not None:
            logger.info(
                "%s: version %s took over from %d", self.name, named.version, before.version
            )


@dataclass(frozen=True)
class LoadedVersion:
    """A predictor, and the registered version it was loaded from, such as `landmarks/3`."""

    predictor: Predictor
    version: str

    @property
    def identity(self) -> str:
        """Version and run: two registries may both have a `landmarks/3`."""
        return f"{self.version} {self.predictor.metadata.run_id}"


def load_version(model: str) -> LoadedVersion:
    """Load `name` (its champion), `name@alias` or `name/version` from the registry.

    Raises ValueError when it is not there or is not a model of this project.
    """
    version = find_version(model)
    return LoadedVersion(load_predictor(version), f"{version.name}/{version.version}")


def find_version(model: str) -> ModelVersion:
    """Find the registered version that `name`, `name@alias` or `name/version` means.

    Raises ValueError when there is none.
    """
    client = mlflow.MlflowClient()
    name, slash, number = model.partition("/")
    try:
        if slash:
            return client.get_model_version(name, number)
        name, _, alias = model.partition("@")
        return client.get_model_version_by_alias(name, alias or ALIAS)
    except MlflowException as error:
        if not is_not_there(error):
            raise
        raise ValueError(
            f"model={model} is not in the registry ({error.message}); make one with"
            f' `make transfer MODEL="{name}"` or name another'
        ) from None


def load_predictor(
    version: ModelVersion, tracking_uri: str | None = None, *, threads: int = 0
) -> Predictor:
    """Load a registered version into memory; nothing of it stays on the disk.

    It answers with the code of this project, also where the version was registered by an older
    one. threads: cores to use; 0: all of them. Raises as `exported_network` does.
    """
    with exported_network(version, tracking_uri) as folder:
        predictor = Predictor.load(folder, threads=threads)
    predictor.warm_up()
    return predictor


@contextlib.contextmanager
def exported_network(version: ModelVersion, tracking_uri: str | None = None) -> Iterator[Path]:
    """Download the artifact folder of a registered version; it exists within the block.

    Raises ValueError when the version is not a model of this project, OSError or MlflowException
    when it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="champion-") as scratch:
        folder = mlflow.artifacts.download_artifacts(
            f"models:/{version.name}/{version.version}",
            dst_path=scratch,
            tracking_uri=tracking_uri,
            registry_uri=tracking_uri,
        )
        found = sorted(Path(folder, _MODEL_FOLDER).glob(f"*/{METADATA_FILE}"))
        if len(found) != 1:
            raise ValueError(
                f"version {version.version} of {version.name} holds {len(found)} exported networks"
                " and should hold one; register a model that this project trained"
            )
        yield found[0].parent


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
