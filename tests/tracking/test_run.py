"""A run is ended whatever happens, and signals wait until it can be."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from landmark_ml.config import TrainConfig
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.run import hold_signals

CONFIG = TrainConfig()


@pytest.fixture(autouse=True)
def _interrupting() -> Iterator[None]:
    """Both signals raise KeyboardInterrupt, as the command line has them do."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def hold(first: signal.Signals, second: signal.Signals, passed: list[int]) -> None:
    """Both arrive while signals are held; passed: those after which it went on."""
    with hold_signals():
        for number in (first, second):
            signal.raise_signal(number)
            passed.append(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_delivered_at_the_end(number: signal.Signals) -> None:
    passed: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        hold(number, signal.SIGTERM, passed)
    assert passed == [number, signal.SIGTERM]
    assert signal.getsignal(number) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait() -> None:
    passed: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        hold(signal.SIGINT, signal.SIGINT, passed)
    assert passed == [signal.SIGINT]


def test_nothing_is_held_in_another_thread() -> None:
    seen = []

    def look() -> None:
        with hold_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()
    assert seen[0] is signal.default_int_handler
    assert seen[1] is not signal.default_int_handler


def interrupted(call: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    def interrupting(*arguments: Any, **named: Any) -> Any:
        if before:
            signal.raise_signal(signal.SIGINT)
        done = call(*arguments, **named)
        if not before:
            signal.raise_signal(signal.SIGINT)
        return done

    return interrupting


@pytest.mark.usefixtures("tracking_uri")
@pytest.mark.parametrize(
    ("name", "before", "status"),
    [
        ("create_run", False, "KILLED"),
        ("set_terminated", True, "FINISHED"),
    ],
)
def test_no_run_is_left_running(
    name: str, status: str, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    """Ctrl-C where MLflow knows a run, and this process none, or one no longer."""
    started: list[str] = []
    create, call = mlflow.MlflowClient.create_run, getattr(mlflow.MlflowClient, name)

    def remember(*arguments: Any, **named: Any) -> mlflow.entities.Run:
        run = create(*arguments, **named)
        started.append(run.info.run_id)
        return run

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", remember)
    call = remember if name == "create_run" else call
    monkeypatch.setattr(mlflow.MlflowClient, name, interrupted(call, before=before))
    with pytest.raises(KeyboardInterrupt), tracking.start_run(CONFIG, "name", {}):
        pass
    assert mlflow.active_run() is None
    assert [mlflow.get_run(run_id).info.status for run_id in started] == [status]


def test_first_runs_at_once_make_the_database_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "new" / "mlflow.db", []

    class SlowClient:
        def __init__(self, uri: str) -> None:
            self.file = Path(uri.removeprefix("sqlite:///"))

        def search_experiments(self) -> None:
            made.append(self.file)
            self.file.write_bytes(b"half")
            time.sleep(0.05)
            assert not path.exists()
            if len(made) == 1:
                raise KeyboardInterrupt
            self.file.write_bytes(b"whole")

    monkeypatch.setattr(mlflow, "MlflowClient", SlowClient)
    with pytest.raises(KeyboardInterrupt):
        tracking.make_database(path)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(tracking.make_database, [path] * 3))
    assert len(made) == 2
    assert path.read_bytes() == b"whole"
    assert sorted(file.name for file in path.parent.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_database_that_mlflow_left_incomplete_is_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = tmp_path / "mlflow.db", mlflow.get_tracking_uri()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE metrics (step BIGINT, run_uuid VARCHAR(32))")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    try:
        with pytest.raises(
            ValueError, match=r"mlflow\.db is incomplete, .*: remove it if it holds"
        ):
            tracking.connect()
    finally:
        mlflow.set_tracking_uri(before)


class Gone:
    """In place of calls of MLflow: its server no longer answers. retries: those left to each."""

    def __init__(self) -> None:
        self.retries: list[str | None] = []

    def __call__(self, *_: object, **__: object) -> NoReturn:
        self.retries.append(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"))
        raise MlflowException("API request to http://host failed with exception refused")


def run_until(error: Exception | None, gone: Gone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose server goes away, and which ends by an error, or by its next call."""
    with tracking.start_run(CONFIG, "name", {}) as run:
        for name in ("log_metrics", "set_tag"):
            monkeypatch.setattr(mlflow, name, gone)
        monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", gone)
        if error is not None:
            raise error
        run.log_metrics({"a": 1.0})


@pytest.mark.usefixtures("tracking_uri")
def test_a_server_that_never_comes_back_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Gone()
    with pytest.raises(MlflowException, match=r"no MLflow server answers at .* run .* stay open"):
        run_until(None, gone, monkeypatch)
    assert gone.retries == [None, "0", "3"]
    assert mlflow.active_run() is None


@pytest.mark.usefixtures("tracking_uri")
def test_an_outage_does_not_hide_what_ended_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="disk full"):
        run_until(OSError("disk full"), Gone(), monkeypatch)


@pytest.mark.usefixtures("tracking_uri")
def test_a_server_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Gone()
    monkeypatch.setattr(mlflow, "set_experiment", gone)
    with pytest.raises(ValueError, match=r"no MLflow server answers at .*: start it, or name"):
        tracking.connect()
    assert gone.retries == ["3"]
