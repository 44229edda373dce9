"""What errors of MLflow mean, which calls are tried again, and how long a server is waited for."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient

from landmark_ml.config import without_users

T = TypeVar("T")
_PATIENCE_SECONDS = 10.0

# MLflow reports an unset alias, and an id that cannot exist, as an invalid parameter.
_NOT_THERE = frozenset(map(ErrorCode.Name, (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)))


def is_not_there(error: MlflowException) -> bool:
    """Whether MLflow answered that it holds no such thing; False for an outage or a refusal."""
    return error.error_code in _NOT_THERE


def find(look_up: Callable[[], T]) -> T | None:
    """What a call of MLflow finds; None when MLflow holds no such thing."""
    try:
        return look_up()
    except MlflowException as error:
        if not is_not_there(error):
            raise
        return None


def is_outage(error: BaseException) -> bool:
    """Whether a tracking server did not answer, however often MLflow asked."""
    signs = ("failed with exception", "failed with timeout exception")
    return isinstance(error, MlflowException) and any(sign in str(error) for sign in signs)


@contextlib.contextmanager
def short_waits(retries: int = 0, timeout: int = 10) -> Iterator[None]:
    """Ask a tracking server this often and wait this many seconds for each answer.

    By default each call waits four minutes if nothing listens, and twenty if the server hangs.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
    }
    before = {name: os.environ[name] for name in wanted if name in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            del os.environ[name]
        os.environ.update(before)


def patient(client: MlflowClient) -> MlflowClient:
    """The same client, whose calls wait and try again, for ten seconds, while others write."""
    return cast("MlflowClient", _PatientClient(client))


class _PatientClient:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            deadline, pause = time.monotonic() + _PATIENCE_SECONDS, 0.02
            while True:
                try:
                    return method(*args, **kwargs)
                except MlflowException as error:
                    is_busy = error.error_code == "TEMPORARILY_UNAVAILABLE"
                    is_busy |= "Giving up" in str(error)
                    if not is_busy or time.monotonic() > deadline:
                        raise
                # At random, so that callers that failed together do not try again together.
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                pause = min(2 * pause, 2.0)

        return call


def shown_tracking_uri() -> str:
    """Tracking URI for messages: without a user and a password."""
    return without_users(mlflow.get_tracking_uri())
