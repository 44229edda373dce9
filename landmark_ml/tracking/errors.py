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


def retry(
    call: Callable[[], T],
    is_temporary: Callable[[Exception], bool],
    *,
    first: float,
    longest: float,
    patience: float,
) -> T:
    """Result of a call that is tried again, for `patience` seconds, while it fails temporarily.

    first, longest: seconds of the first pause, and of the longest; each is twice the one before,
    give or take a half. The random part keeps callers that failed together from trying again
    together. Raises what the call raises when that is not temporary, or when the time is up.
    """
    deadline, pause = time.monotonic() + patience, first
    while True:
        try:
            return call()
        except Exception as error:
            if not is_temporary(error) or time.monotonic() > deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        pause = min(2 * pause, longest)


def patient(client: MlflowClient) -> MlflowClient:
    """The same client, whose calls wait and try again, for ten seconds, while others write."""
    return cast("MlflowClient", _PatientClient(client))


class _PatientClient:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def is_busy(error: Exception) -> bool:
            return isinstance(error, MlflowException) and (
                error.error_code == "TEMPORARILY_UNAVAILABLE" or "Giving up" in str(error)
            )

        def call(*args: Any, **kwargs: Any) -> Any:
            return retry(
                lambda: method(*args, **kwargs), is_busy, first=0.02, longest=2.0, patience=10.0
            )

        return call


def shown_tracking_uri() -> str:
    """Tracking URI for messages: without a user and a password."""
    return without_users(mlflow.get_tracking_uri())
