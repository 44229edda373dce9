"""What an error of MLflow means, and how errors may name the MLflow that was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlflow
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from landmark_ml.config import without_user

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

# An alias that nobody set, and an id that none can be, are invalid parameters to MLflow.
_NOT_THERE = frozenset(map(ErrorCode.Name, (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)))


def is_not_there(error: MlflowException) -> bool:
    """Whether MLflow answered that it holds no such thing; False for an outage or a refusal."""
    return error.error_code in _NOT_THERE


def shown_tracking_uri() -> str:
    """Where MLflow records, as messages may name it: without a user and a password."""
    return without_user(mlflow.get_tracking_uri())
