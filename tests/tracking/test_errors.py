"""A call that fails for a moment is tried again, any other failure is raised at once."""

from __future__ import annotations

import os
from typing import cast

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from landmark_ml.tracking import errors
from landmark_ml.tracking.errors import is_outage, patient, short_waits


class Busy:
    """A client whose call fails so many times, and counts."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.error, self.calls = times, error, 0

    def answer(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"


def asked(client: Busy) -> str:
    found: str = patient(cast("MlflowClient", client)).answer()  # type: ignore[attr-defined]
    return found


BUSY = MlflowException("busy", TEMPORARILY_UNAVAILABLE)


def test_a_temporary_failure_is_tried_again_after_pauses_that_double(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    assert asked(Busy(9, BUSY)) == "done"
    for pause, about in zip(pauses, (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2, 2), strict=True):
        assert about / 2 <= pause <= about * 1.5


def test_the_last_failure_is_raised_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_PATIENCE_SECONDS", -1.0)
    client = Busy(9, BUSY)
    with pytest.raises(MlflowException, match="busy"):
        asked(client)
    assert client.calls == 1


def test_another_failure_is_raised_at_once() -> None:
    client = Busy(9, MlflowException("no such run", RESOURCE_DOES_NOT_EXIST))
    with pytest.raises(MlflowException, match="no such run"):
        asked(client)
    assert client.calls == 1


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
