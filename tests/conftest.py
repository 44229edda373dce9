"""What every test runs in: no MLflow settings from outside, one database a session, no bars."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest import TempPathFactory  # noqa: PT013 - only a type

from benchmarks.databases import PostgresMissingError, PostgresServer, run_postgres

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from landmark_ml.inference.predictor import Predictor


def pytest_configure() -> None:
    """Silence progress bars, which tqdm reads once when it is first imported; listen to Ctrl-C.

    A shell makes jobs in its background ignore Ctrl-C, and some tests send one.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Collecting imports everything, and garbage would be looked for in all of it again and again.
    gc.disable()
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Keep the settings of the caller's shell, and of `mlflow run`, out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            if name != "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: TempPathFactory) -> Iterator[str]:
    """MLflow database of this test session; its experiment keeps artifacts beside it.

    One for all tests, copied from one for all processes: laying its tables takes seconds.
    """
    import mlflow  # noqa: PLC0415 - slow, and most tests do without
    from sqlalchemy import Engine, event  # noqa: PLC0415

    from landmark_ml.tracking.run import DEFAULT_EXPERIMENT, make_database  # noqa: PLC0415

    @event.listens_for(Engine, "connect")
    def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
        # Databases of tests need not survive a power cut.
        if "sqlite" in type(connection).__module__:
            connection.execute("PRAGMA synchronous=OFF")

    folder, shared = tmp_path_factory.mktemp("mlflow"), tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    make_database(shared / "mlflow.db")
    shutil.copyfile(shared / "mlflow.db", folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        # The one that MLflow made keeps its artifacts in the folder of the tests' caller.
        mlflow.MlflowClient().rename_experiment("0", "made by MLflow")
        mlflow.create_experiment(DEFAULT_EXPERIMENT, str(folder / "artifacts"))
        yield uri
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL server of this test session; a test makes its own databases in it."""
    with contextlib.ExitStack() as ends:
        try:
            # Test data need not survive a power cut.
            server = ends.enter_context(run_postgres(durable=False))
        except PostgresMissingError as missing:
            pytest.skip(str(missing))
        yield server


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: TempPathFactory) -> Path:
    """An exported artifact that knows landmarks by colour; see `colour_artifact`."""
    from tests.colour_artifact import write_artifact  # noqa: PLC0415 - imports torch

    return write_artifact(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def predictor(artifact: Path) -> Predictor:
    """The predictor of that artifact."""
    from landmark_ml.inference.predictor import Predictor  # noqa: PLC0415 - as above

    return Predictor.load(artifact)


@pytest.fixture(scope="session")
def model_folder(tracking_uri: str) -> Path:
    """Folder of that artifact logged as an MLflow model."""
    import mlflow  # noqa: PLC0415 - as above

    from tests.colour_artifact import log_artifact  # noqa: PLC0415 - as above

    uri = log_artifact(tracking_uri).model_uri
    return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=tracking_uri))


@pytest.fixture(scope="session")
def served(model_folder: Path) -> PyFuncModel:
    """That model as `mlflow models serve` loads it."""
    import mlflow  # noqa: PLC0415 - as above

    model: PyFuncModel = mlflow.pyfunc.load_model(str(model_folder))
    return model
