"""One artifact, one predictor and one logged model for all tests of serving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest

from landmark_ml.inference.predictor import Predictor
from tests.browser import launched_browser
from tests.colour_artifact import log_artifact, write_artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.pyfunc import PyFuncModel
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def predictor(artifact: Path) -> Predictor:
    return Predictor.load(artifact)


@pytest.fixture(scope="session")
def model_folder(tracking_uri: str) -> Path:
    """Folder of the logged model."""
    uri = log_artifact(tracking_uri).model_uri
    return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=tracking_uri))


@pytest.fixture(scope="session")
def served(model_folder: Path) -> PyFuncModel:
    model: PyFuncModel = mlflow.pyfunc.load_model(str(model_folder))
    return model


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as browser:
        yield browser
