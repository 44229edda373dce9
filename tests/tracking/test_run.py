"""A run is ended whatever happens, and its database is made once and whole."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NoReturn

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from landmark_ml.config import TrainConfig
from landmark_ml.tracking import run as tracking

CONFIG = TrainConfig()


@pytest.fixture(autouse=True)
def _interrupting() -> Iterator[None]:
    """Both signals raise KeyboardInterrupt, as the command line has them do."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_figure_that_cannot_be_drawn_does_not_end_the_run(
    tracking_uri: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def draw() -> NoReturn:
        raise MemoryError("too many pixels")

    with tracking.start_run(CONFIG, "undrawn", {}) as run:
        assert run.log_figure(draw, "confusion_matrix") is None
    assert mlflow.get_run(run.run_id).info.status == "FINISHED"
    assert "confusion_matrix could not be drawn" in caplog.text
    assert "too many pixels" in caplog.text


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
        for name in ("log_metrics", "set_tags"):
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


class Server(BaseHTTPRequestHandler):
    """In place of MLflow's server: asks for a login, after a while."""

    def do_POST(self) -> None:
        time.sleep(0.5)
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the port of the tracking server."""
    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    def set_port(port: int) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")

    yield set_port
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("launched", [False, True])
def test_a_server_that_never_answers_is_a_sentence_within_seconds(
    at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, *, launched: bool
) -> None:
    if launched:
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at(silent.getsockname()[1])
        started = time.monotonic()
        with pytest.raises(ValueError, match=r"no MLflow server answers at http://127.*: start it"):
            tracking.connect()
    assert time.monotonic() - started < 5


def test_nothing_at_the_address_is_a_sentence_at_once(at: Callable[[int], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        at(closed.getsockname()[1])
    started = time.monotonic()
    with pytest.raises(ValueError, match="no MLflow server answers"):
        tracking.connect()
    assert time.monotonic() - started < 2


def test_a_slow_server_that_asks_for_a_login_says_so(at: Callable[[int], None]) -> None:
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at(server.server_port)
        with pytest.raises(ValueError, match=r"wants a login: give it in MLFLOW_TRACKING_USERNAME"):
            tracking.connect()
        server.shutdown()


@pytest.mark.usefixtures("tracking_uri")
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError("disk full"), "FAILED", "OSError: disk full"),
        (KeyboardInterrupt(), "KILLED", "interrupted by Ctrl-C or a signal"),
    ],
)
def test_a_run_that_did_not_finish_says_why(error: BaseException, status: str, said: str) -> None:
    def fail() -> None:
        with tracking.start_run(CONFIG, "name", {"kind": "data"}):
            raise error

    with pytest.raises(type(error)):
        fail()
    found = mlflow.search_runs(
        experiment_names=[tracking.DEFAULT_EXPERIMENT], output_format="list", max_results=1
    )[0]
    assert found.info.status == status
    assert found.data.tags["error"] == said
    assert said in found.data.tags["mlflow.note.content"]


@pytest.fixture
def launched(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run that `mlflow run` made for the command."""
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(tracking.DEFAULT_EXPERIMENT)
    assert experiment is not None
    tags = {"mlflow.project.entryPoint": "history"}
    run_id = client.create_run(experiment.experiment_id, tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return str(run_id)


def test_a_command_without_a_run_of_its_own_names_that_of_mlflow(launched: str) -> None:
    tracking.settle_launched()
    info = mlflow.get_run(launched).info
    # A deleted one would make `mlflow run` fail.
    assert (info.run_name, info.status, info.lifecycle_stage) == ("history", "FINISHED", "active")


def test_a_command_that_fails_before_its_run_says_why_in_that_of_mlflow(launched: str) -> None:
    tracking.settle_launched("there is no parameter 'epoch'")
    run = mlflow.get_run(launched)
    assert (run.info.run_name, run.info.status) == ("history", "FAILED")
    assert "no parameter 'epoch'" in run.data.tags["mlflow.note.content"]


def test_a_run_that_a_command_opened_stays_as_it_is(launched: str) -> None:
    with tracking.start_run(CONFIG, "mine", {"kind": "data"}):
        pass
    tracking.settle_launched()
    run = mlflow.get_run(launched)
    assert (run.info.run_name, run.info.lifecycle_stage) == ("mine", "active")
    assert "" not in run.data.params.values()


@pytest.mark.parametrize(
    ("store", "ui", "server"),
    [
        ("https://me:sesame@mlflow.example:8443/ml/", "", "https://mlflow.example:8443/ml"),
        ("https://mlflow.example", "https://me:ses@me@ui.example", "https://ui.example"),
        ("sqlite:////tmp/mlflow.db", "", "http://127.0.0.1:5000"),
    ],
)
def test_the_page_of_a_run_is_named_without_a_password(
    store: str, ui: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: store)
    page = f"{server}/#/experiments/3/runs/abc?workflowType=machine_learning"
    assert tracking.page_of("abc", "3", ui) == page
    assert tracking.page_of("", "3", ui) == page.replace("/abc", "")
