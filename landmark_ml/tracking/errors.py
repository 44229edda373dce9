"""What errors of MLflow mean, and a client that waits while the database is busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from landmark_ml.config import without_user
from landmark_ml.retry import backoff, retry

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# MLflow reports an unset alias, and an id that cannot exist, as an invalid parameter.
_NOT_THERE = frozenset(map(ErrorCode.Name, (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)))


def is_not_there(error: MlflowException) -> bool:
    """Whether MLflow answered that it holds no such thing; False for an outage or a refusal."""
    return error.error_code in _NOT_THERE


def is_busy(error: Exception) -> bool:
    """Whether other writers kept the database of MLflow from answering."""
    return isinstance(error, MlflowException) and (
        error.error_code == "TEMPORARILY_UNAVAILABLE" or "Giving up" in str(error)
    )


def patient(client: MlflowClient) -> MlflowClient:
    """The same client, whose calls wait and try again, for ten seconds, while it is busy."""
    return cast("MlflowClient", _PatientClient(client))


class _PatientClient:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return retry(lambda: method(*args, **kwargs), is_busy, backoff(0.02, 2.0, tries=12))

        return call


def shown_tracking_uri() -> str:
    """Tracking URI for messages: without a user and a password."""
    return without_user(mlflow.get_tracking_uri())
