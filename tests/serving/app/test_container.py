"""The packages of the image, installed as its Dockerfile does, and the commands of compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.databases import PostgresServer
from experiments.entry_points import ENTRY_POINTS
from tests.colour_artifact import RED, colour_photo
from tests.source_tree import ROOT

SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
NO_INDEX = ("Failed to fetch", "error sending request", "dns error", "Could not fetch URL")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_cannot_change_itself_or_take_the_whole_machine(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["mem_limit"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "healthcheck" in service or "job" in service["profiles"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", ["app", "tag"])
def test_compose_names_options_that_the_command_has(name: str) -> None:
    service = SERVICES[name]
    program, command, *values = service.get("entrypoint", service.get("command"))
    assert (program, command) == ("landmarks", name)
    for value in values:
        if value.startswith("--"):
            assert hasattr(ENTRY_POINTS[command].defaults, value[2:].split("=")[0])


def with_programs(folder: Path) -> dict[str, str]:
    """Environment in which the programs of a folder are found, and nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PATH": f"{folder}{os.pathsep}{os.defpath}"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environment made by the RUN lines of the Dockerfile's first stage, without that of uv."""
    folder = tmp_path_factory.mktemp("image")
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!") and (found := ROOT / line[1:]).exists():
            copy = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, folder / found.name)
    first = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    steps = re.findall(r"^RUN ((?:.*\\\n)*.*)", first, re.MULTILINE)
    environment = with_programs(Path(sys.executable).parent)
    for step in steps[1:]:
        here = re.sub(r" (/tmp)?/(?=venv|only)", f" {folder}/", step)
        done = subprocess.run(  # noqa: S603 - our own Dockerfile
            ["/bin/bash", "-c", here],
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
            pytest.skip(f"the package index cannot be reached: {done.stderr[-500:]}")
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "venv" / "bin"


@contextmanager
def running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A command in a session of its own, which is ended with the block."""
    with (folder / "out.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - a command of compose.yaml
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def ask(url: str, data: bytes | None = None) -> Any:
    """The answer, once there is one."""
    request = urllib.request.Request(url, data, {"Content-Type": "image/jpeg"} if data else {})  # noqa: S310
    for _ in range(240):
        try:
            return urllib.request.urlopen(request, timeout=30).read()  # noqa: S310 - on 127.0.0.1
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"{url} does not answer")


@pytest.mark.slow
def test_app_and_tagger_answer_without_torch(
    installed: Path, registered: str, tmp_path: Path
) -> None:
    environment = with_programs(installed)
    command = [str(installed / "python"), "-c", "import torch"]
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own
    assert b"No module named 'torch'" in done.stderr

    port = free_port()
    values = ["--host=127.0.0.1", f"--port={port}", f"--model={registered}"]
    served = [str(installed / "landmarks"), "app", *values]
    with running(served, tmp_path, environment):
        assert json.loads(ask(f"http://127.0.0.1:{port}/readyz"))["version"] == 1
        answer = json.loads(ask(f"http://127.0.0.1:{port}/api/tag", colour_photo(RED)))
    assert answer["photos"][0]["landmark"]

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "red.jpg").write_bytes(colour_photo(RED))
    values = ["photos", f"--out={tmp_path}/out", f"--model={registered}"]
    subprocess.run(  # noqa: S603 - our own command
        [installed / "landmarks", "tag", *values], cwd=tmp_path, env=environment, check=True
    )
    assert (tmp_path / "out" / "tags.csv").is_file()


@pytest.mark.slow
def test_mlflow_keeps_runs_in_postgresql(
    installed: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    port, (program, *values) = free_port(), SERVICES["mlflow"]["command"]
    given = {
        "--backend-store-uri": postgres.create_database("mlflow_of_compose"),
        "--artifacts-destination": f"{tmp_path}/artifacts",
        "--host": "127.0.0.1",
        "--allowed-hosts": f"127.0.0.1:{port}",
    }
    command = [str(installed / program), *values, f"--port={port}"]
    for name, value in given.items():
        (place,) = (at for at, each in enumerate(command) if each.startswith(f"{name}="))
        command[place] = f"{name}={value}"
    environment = with_programs(installed)
    with running(command, tmp_path, environment):
        assert ask(f"http://127.0.0.1:{port}/health") == b"OK"
        found = json.loads(
            ask(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id=0")
        )
    assert found["experiment"]["name"] == "Default"
