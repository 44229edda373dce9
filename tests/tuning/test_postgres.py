"""A server that has no connection left is waited for; whatever else is wrong is said at once."""

from __future__ import annotations

import pytest
import sqlalchemy

from landmark_ml.tuning import postgres

psycopg = pytest.importorskip("psycopg", reason="needs pip install -e '.[postgres]'")
URL = "postgresql+psycopg://me@127.0.0.1:9/studies"


class _Server:
    """Refuses some connections, then gives one."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.waited: list[float] = []

    def connect(self, **_: object) -> str:
        if self.refusals:
            raise psycopg.OperationalError(self.refusals.pop(0))
        return "connection"


def _connect(monkeypatch: pytest.MonkeyPatch, server: _Server) -> object:
    monkeypatch.setattr(psycopg, "connect", server.connect)
    monkeypatch.setattr("time.sleep", server.waited.append)
    return postgres.engine_options(URL)["creator"]()


def test_a_full_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _Server(
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for superusers",
    )
    assert _connect(monkeypatch, server) == "connection"
    assert len(server.waited) == 2
    assert all(seconds > 0 for seconds in server.waited)


def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_PATIENCE", -1.0)
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        _connect(monkeypatch, _Server("too many clients"))


def test_any_other_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _Server('FATAL:  password authentication failed for user "me"')
    with pytest.raises(psycopg.OperationalError, match="password"):
        _connect(monkeypatch, server)
    assert not server.waited


def test_one_connection_is_kept() -> None:
    engine = sqlalchemy.create_engine(URL, **postgres.engine_options(URL))
    assert engine.pool.size() == 1  # type: ignore[attr-defined]
