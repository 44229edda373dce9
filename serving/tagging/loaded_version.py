"""The model that answers for a library: found in the registry, loaded without MLflow's pyfunc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from landmark_ml.tracking.errors import is_not_there
from serving.champion import ALIAS, load_predictor

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from landmark_ml.inference.predictor import Predictor


@dataclass(frozen=True)
class LoadedVersion:
    """A predictor, and the registered version it is: `landmarks/3`."""

    predictor: Predictor
    version: str

    @property
    def identity(self) -> str:
        """The version and its run: another registry may count its versions the same."""
        return f"{self.version} {self.predictor.metadata.run_id}"


def load_version(model: str) -> LoadedVersion:
    """Load `name` (its champion), `name@alias` or `name/version` from the registry.

    Raises ValueError when it is not there or no model of this project.
    """
    version = find_version(model)
    return LoadedVersion(load_predictor(version), f"{version.name}/{version.version}")


def find_version(model: str) -> ModelVersion:
    """The registered version that `name`, `name@alias` or `name/version` means.

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
