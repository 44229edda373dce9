"""The champion of a registered model, loaded, and loaded anew when its alias moves."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from landmark_ml.inference.artifact import METADATA_FILE
from landmark_ml.inference.predictor import Predictor
from landmark_ml.tracking.errors import is_not_there

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

ALIAS = "champion"
_MODEL_FOLDER = "artifacts"
_LONGEST_PAUSE_SECONDS = 60.0


class ChampionError(ValueError):
    """There is no champion that can be loaded; the message says why and what to do."""


@dataclass(frozen=True)
class Loaded:
    """A version that answers: its predictor, its number, and the run that made it.

    Take it once a request: whoever holds it is answered by this version to the end, however the
    alias moves meanwhile.
    """

    predictor: Predictor
    version: int
    run_id: str


class LoadVersion(Protocol):
    """How a version is loaded; tests give their own."""

    def __call__(self, version: ModelVersion, uri: str | None, /) -> Predictor: ...


class Champion:
    """Watches `models:/NAME@champion`; safe to read from several threads.

    A moved alias is noticed within `poll_seconds`. The new version is loaded and warmed up beside
    the old one, which answers until then, and takes its place in one assignment. A version that
    cannot be loaded, a missing alias or a registry that is away leave the old one in place:
    `problem` says so, and it is tried again, less and less often, up to once a minute.
    """

    def __init__(
        self,
        name: str,
        tracking_uri: str | None = None,
        poll_seconds: float = 2.0,
        *,
        load: LoadVersion | None = None,
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
        loaded = self._loaded
        if loaded is None:
            raise ChampionError(f"the champion of {self.name} is not loaded; call start first")
        return loaded

    @property
    def problem(self) -> str | None:
        """Why `current` may not be what the alias names; None when it is."""
        return self._problem

    def start(self) -> Champion:
        """Load the champion, then watch for the next one.

        Raises ChampionError when there is none or it cannot be loaded.
        """
        if self._watcher is not None:
            raise RuntimeError(f"the champion of {self.name} is watched already")
        try:
            self._follow()
        except (MlflowException, OSError, ValueError) as error:
            raise ChampionError(
                f"the champion of {self.name} cannot be loaded: {_reason(error)}"
                f"{_way_to_one(self.name, error)}"
            ) from error
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)
        self._watcher.start()
        return self

    def close(self) -> None:
        """Stop watching; the version that is loaded goes on answering."""
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
            # Whatever is wrong with the next version, this one must go on answering.
            except Exception as error:
                self._report(error)
                pause = max(self._poll_seconds, min(2 * pause, _LONGEST_PAUSE_SECONDS))
            else:
                self._problem, pause = None, self._poll_seconds

    def _follow(self) -> None:
        """Load what the alias names, unless it is loaded already."""
        client = MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)
        named = client.get_model_version_by_alias(self.name, ALIAS)
        # A registered model that was deleted and made again counts from 1 again.
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

    def _report(self, error: Exception) -> None:
        problem = f"{_reason(error)}; version {self.current.version} goes on answering"
        if problem != self._problem:
            logger.warning("%s: %s", self.name, problem, exc_info=error)
        self._problem = problem


def load_predictor(
    version: ModelVersion, tracking_uri: str | None = None, *, threads: int = 0
) -> Predictor:
    """Make a registered version ready to answer; nothing of it stays on the disk.

    threads: cores it may keep busy; 0: all of them. Raises as `exported_network` does.
    """
    with exported_network(version, tracking_uri) as folder:
        predictor = Predictor.load(folder, threads=threads)
    predictor.warm_up()
    return predictor


@contextlib.contextmanager
def exported_network(version: ModelVersion, tracking_uri: str | None = None) -> Iterator[Path]:
    """Folder of the exported network of a registered version, there within the block.

    Raises ValueError when it is not a model of this project, OSError or MlflowException when it
    cannot be read.
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


def _way_to_one(name: str, error: Exception) -> str:
    """How to make what the registry does not hold; nothing where it was not even reached."""
    if not isinstance(error, MlflowException) or not is_not_there(error):
        return ""
    return f"; register one first: mlflow run . --env-manager local -e transfer -P register={name}"


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
