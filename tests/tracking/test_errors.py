"""A call that fails for a moment is tried again, any other failure is raised at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from landmark_ml.tracking.errors import is_outage, retry, short_waits

quickly = partial(retry, first=0.0, longest=0.0, patience=60.0)


def failing(times: int, error: Exception) -> tuple[list[int], Callable[[], str]]:
    """Calls made so far, and a call that fails so many times."""
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, call


@pytest.mark.parametrize(("times", "tried"), [(0, 1), (2, 3)])
def test_a_temporary_failure_is_tried_again(times: int, tried: int) -> None:
    calls, call = failing(times, ConnectionError())
    assert quickly(call, lambda _: True) == "done"
    assert len(calls) == tried


def test_the_last_failure_is_raised_when_the_time_is_up() -> None:
    calls, call = failing(9, ConnectionError("busy"))
    with pytest.raises(ConnectionError, match="busy"):
        quickly(call, lambda _: True, patience=-1.0)
    assert len(calls) == 1


def test_another_failure_is_raised_at_once() -> None:
    calls, call = failing(9, KeyError("name"))
    with pytest.raises(KeyError):
        quickly(call, lambda error: isinstance(error, OSError))
    assert len(calls) == 1


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    _, call = failing(4, ConnectionError())
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    retry(call, lambda _: True, first=1.0, longest=3.0, patience=60.0)
    for pause, about in zip(pauses, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert about / 2 <= pause <= about * 1.5


def test_a_server_that_is_not_there_is_known_at_once_with_short_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with short_waits(), pytest.raises(MlflowException) as refused:
        mlflow.MlflowClient("http://127.0.0.1:9").search_experiments()
    assert is_outage(refused.value)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert not is_outage(MlflowException("no such run", RESOURCE_DOES_NOT_EXIST))
