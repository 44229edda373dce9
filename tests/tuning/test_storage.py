"""Where studies are stored, which databases are refused, the lock, and a full server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from landmark_ml.tuning import study as databases
from landmark_ml.tuning.study import open_storage, storage_url, study_lock

if TYPE_CHECKING:
    from pathlib import Path

MLFLOW = "sqlite:////home/me/mlflow.db"


def test_without_a_storage_studies_lie_beside_the_runs() -> None:
    assert storage_url("", MLFLOW) == "sqlite:////home/me/studies.db"
    assert storage_url("", "sqlite:///mlflow.db") == "sqlite:///studies.db"
    assert storage_url("", "http://127.0.0.1:5000") == "sqlite:///studies.db"


def test_postgresql_gets_the_driver_of_the_extra() -> None:
    assert storage_url("postgresql://a@b/c", MLFLOW) == "postgresql+psycopg://a@b/c"
    assert storage_url("postgresql+psycopg2://a@b/c", MLFLOW) == "postgresql+psycopg2://a@b/c"


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("redis://cache", "is neither postgresql"),
        ("studies", "is neither postgresql"),
        (MLFLOW, "give the study a database of its own"),
    ],
)
def test_other_databases_are_refused(storage: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        storage_url(storage, MLFLOW)


@pytest.mark.parametrize(
    ("storage", "mlflow"),
    [
        ("postgresql://a@db/runs", "postgresql+psycopg2://b:secret@DB:5432/runs"),
        ("postgresql+psycopg://a@127.0.0.1/runs", "postgresql://a@localhost:5432/runs"),
        ("sqlite:///{here}/mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:///{here}/link.db", "sqlite:///{here}/mlflow.db"),
    ],
)
def test_the_database_of_mlflow_is_refused_however_it_is_spelled(
    storage: str, mlflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("mlflow.db")
    with pytest.raises(ValueError, match="give the study a database of its own") as refused:
        storage_url(storage.format(here=tmp_path), mlflow.format(here=tmp_path))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "storage", ["postgresql://a@db/studies", "postgresql://a@db:5433/runs", "postgresql://a@b/runs"]
)
def test_another_database_beside_that_of_mlflow_is_taken(storage: str) -> None:
    assert storage_url(storage, "postgresql://a@db/runs").startswith("postgresql+psycopg://")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="neither") as refused:
        storage_url("mysql://me:secret@host/studies", MLFLOW)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_a_sentence(psycopg: Any) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/studies"
    with pytest.raises(ValueError, match="cannot be used") as refused:
        open_storage(url, 30, lambda *_: None)
    assert "secret" not in str(refused.value)


def test_a_study_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    order: list[str] = []

    def second() -> None:
        with study_lock(url, "one"):
            order.append("second")

    with study_lock(url, "one"):
        thread = threading.Thread(target=second)
        thread.start()
        with study_lock(url, "other"):
            order.append("other")
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["other", "first", "second"]


@pytest.fixture
def psycopg() -> Any:
    return pytest.importorskip("psycopg", reason="needs pip install -e '.[postgres]'")


def connect(monkeypatch: pytest.MonkeyPatch, psycopg: Any, *refusals: str) -> list[float]:
    """Pauses before a server that refuses so often gives a connection."""
    left, waited = list(refusals), list[float]()

    def answer(**_: object) -> str:
        if left:
            raise psycopg.OperationalError(left.pop(0))
        return "connection"

    monkeypatch.setattr(psycopg, "connect", answer)
    monkeypatch.setattr("time.sleep", waited.append)
    assert databases.connect("postgresql+psycopg://me@127.0.0.1:9/studies") == "connection"
    return waited


def test_a_full_server_is_waited_for(monkeypatch: pytest.MonkeyPatch, psycopg: Any) -> None:
    full = "FATAL:  sorry, too many clients already"
    reserved = "FATAL:  remaining connection slots are reserved for superusers"
    waited = connect(monkeypatch, psycopg, full, reserved)
    assert len(waited) == 2
    assert all(seconds > 0 for seconds in waited)


def test_a_full_server_is_given_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch, psycopg: Any
) -> None:
    monkeypatch.setattr(databases, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        connect(monkeypatch, psycopg, "too many clients")


def test_any_other_refusal_is_raised_at_once(monkeypatch: pytest.MonkeyPatch, psycopg: Any) -> None:
    refused = 'FATAL:  password authentication failed for user "me"'
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(monkeypatch, psycopg, refused)
