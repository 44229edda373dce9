"""Real processes that promote at once, or are killed while they do, on SQLite and PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from landmark_ml.registry.history import AliasHistory
from tests.postgres_server import PostgresServer
from tests.registry.registered_models import aliases, crown, make_versions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 4
LONGEST = 180.0


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('history')}/mlflow.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database("succession_processes")


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def start(uri: str, name: str, version: int, *more: str) -> subprocess.Popen[str]:
    module = "tests.registry.promoting_process"
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", module, uri, name, str(version), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_when_processes_promote_at_once_one_wins(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    name, rounds = "contested", 2
    make_versions(client, name, 1 + PROCESSES)
    champion = crown(AliasHistory(name, client), 1).champion
    for _ in range(rounds):
        go = tmp_path / f"go-{champion}"
        versions = [version for version in range(1, PROCESSES + 2) if version != champion]
        processes = {version: start(uri, name, version, str(go)) for version in versions}
        assert {said(process) for process in processes.values()} == {"ready"}
        go.touch()
        ends = {version: said(process) for version, process in processes.items()}
        assert all(process.wait(LONGEST) == 0 for process in processes.values())
        assert sorted(ends.values()) == ["too late"] * (PROCESSES - 1) + ["won"]
        (winner,) = (version for version, end in ends.items() if end == "won")
        # At once, before anything repairs.
        assert aliases(client, name) == (winner, champion)
        assert AliasHistory(name, client).reconcile()[1] == []
        champion = winner


@pytest.mark.parametrize("writes", [2, 3, 4, 5])
def test_the_next_command_repairs_what_a_killed_process_left(
    writes: int, uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    name = f"killed-{writes}"
    make_versions(client, name, 3)
    crown(AliasHistory(name, client), 1, 2)
    go = tmp_path / "go"
    go.touch()
    # Writes: mark, entry, previous, champion, unmark.
    process = start(uri, name, 3, str(go), str(writes))
    ended = process.wait(LONGEST)
    assert ended == (-signal.SIGKILL if writes < 5 else 0)
    _, notes = AliasHistory(name, client).reconcile()
    assert aliases(client, name) == (3, 2)
    assert len(notes) == (writes < 4)
    assert crown(AliasHistory(name, client), 1).former == (1, 2, 3)
