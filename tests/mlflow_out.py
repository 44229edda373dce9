"""An MLflow that is out for a moment: in place of any of its calls."""

from __future__ import annotations

from typing import NoReturn

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE


def fail(*_: object, **__: object) -> NoReturn:
    raise MlflowException("503", TEMPORARILY_UNAVAILABLE)
