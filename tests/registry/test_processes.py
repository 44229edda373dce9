"""Real processes that promote at once, or are killed while they do, on SQLite and PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from benchmarks.databases import PostgresServer
from landmark_ml.registry.history import AliasHistory
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
    make_versions(client, "contested", 1 + PROCESSES)
    crown(AliasHistory("contested", client), 1)
    go, versions = tmp_path / "go", range(2, PROCESSES + 2)
    processes = {version: start(uri, "contested", version, str(go)) for version in versions}
    assert {said(process) for process in processes.values()} == {"ready"}
    go.touch()
    ends = {version: said(process) for version, process in processes.items()}
    assert all(process.wait(LONGEST) == 0 for process in processes.values())
    assert sorted(ends.values()) == ["too late"] * (PROCESSES - 1) + ["won"]
    (winner,) = (version for version, end in ends.items() if end == "won")
    # At once, before anything repairs.
    assert aliases(client, "contested") == (winner, 1)
    assert AliasHistory("contested", client).reconcile()[1] == []


def test_the_next_command_repairs_what_a_killed_process_left(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    make_versions(client, "killed", 3)
    crown(AliasHistory("killed", client), 1, 2)
    (tmp_path / "go").touch()
    # Its entry is written, no alias is set; `test_history` kills before every write.
    process = start(uri, "killed", 3, str(tmp_path / "go"), "3")
    assert process.wait(LONGEST) == -signal.SIGKILL
    _, notes = AliasHistory("killed", client).reconcile()
    assert aliases(client, "killed") == (3, 2)
    assert len(notes) == 1
    assert crown(AliasHistory("killed", client), 1).former == (1, 2, 3)
