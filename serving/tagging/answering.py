"""The model that answers for a library: found in the registry, loaded without MLflow's pyfunc."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from serving.predictor import Predictor


@dataclass(frozen=True)
class Answering:
    """A predictor, and the registered version it is: `landmarks/3`."""

    predictor: Predictor
    version: str

    @property
    def identity(self) -> str:
        """The version and its run: another registry may count its versions the same."""
        return f"{self.version} {self.predictor.metadata.run_id}"


def load_answering(model: str) -> Answering:
    """Load `name` (its champion), `name@alias` or `name/version` from the registry.

    Raises ValueError when it is not there or no model of this project.
    """
    name, version = find_version(model)
    with tempfile.TemporaryDirectory(prefix="tag-") as scratch:
        folder = mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=scratch)
        found = sorted(Path(folder, "artifacts").glob("*/metadata.json"))
        if len(found) != 1:
            raise ValueError(f"model={model} holds no landmark model; name one that was registered")
        predictor = Predictor.load(found[0].parent)
    predictor.warm_up()
    return Answering(predictor, f"{name}/{version}")


def find_version(model: str) -> tuple[str, str]:
    """Name and version that `name`, `name@alias` or `name/version` means.

    Raises ValueError when there is none.
    """
    name, slash, version = model.partition("/")
    client = mlflow.MlflowClient()
    try:
        if slash:
            return name, str(client.get_model_version(name, version).version)
        name, _, alias = model.partition("@")
        found = client.get_model_version_by_alias(name, alias or "champion")
        return name, str(found.version)
    except MlflowException as error:
        raise ValueError(
            f"model={model} is not in the registry ({error.message}); make one with `make transfer`"
            " or name another"
        ) from None
