"""The served model alone: its requirements in a new environment, and nothing else of ours."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from landmark_ml.inference.predictor import Predictor
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo, gps_exif

pytestmark = pytest.mark.slow

PHOTOS = [
    colour_photo(RED, (900, 700)),
    b"no photo",
    colour_photo(GREEN, exif=gps_exif(12, 34)),
    colour_photo(WHITE),
]
FOREIGN = ("torch", "timm", "landmark_ml", "serving", "sklearn", "matplotlib", "sqlalchemy")
ASK = f"""
import base64, importlib.util, json, sys
present = [name for name in {FOREIGN} if importlib.util.find_spec(name)]
import mlflow.pyfunc, pandas as pd
photos = [base64.b64decode(text) for text in json.load(sys.stdin)]
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(pd.DataFrame({{"image": photos}})).to_dict(orient="records")
print(json.dumps({{"present": present, "answers": answers}}))
"""
START_SECONDS = 90


@pytest.fixture(scope="module")
def model(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the logged model, far from this repository and its database."""
    return shutil.copytree(model_folder, tmp_path_factory.mktemp("alone") / "model")


@pytest.fixture(scope="module")
def programs(model: Path) -> Path:
    """Folder of the programs of an environment with the model's requirements only."""
    folder = model.parent / "environment"
    venv.create(folder, with_pip=True)
    required = ["-r", str(model / "requirements.txt")]
    subprocess.run(  # noqa: S603 - our own interpreter
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *required],
        check=True,
        env=outside(folder / "bin"),
        cwd=model.parent,
    )
    return folder / "bin"


def outside(programs: Path) -> dict[str, str]:
    """Environment variables that lead nowhere near this repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    kept.pop("PYTHONPATH", None)
    path = f"{programs}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def encoded() -> list[str]:
    return [base64.b64encode(photo).decode("ascii") for photo in PHOTOS]


def test_the_requirements_are_enough(model: Path, programs: Path, predictor: Predictor) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [programs / "python", "-c", ASK, model],
        input=json.dumps(encoded()),
        capture_output=True,
        text=True,
        check=False,
        env=outside(programs),
        cwd=model.parent,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["present"] == []
    assert found["answers"] == predictor.predict(PHOTOS)
    assert done.stderr == ""


@pytest.fixture(scope="module")
def url(model: Path, programs: Path) -> Iterator[str]:
    """Address of `mlflow models serve` with the model, in its own environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ["-m", str(model), "--env-manager", "local", "--host", "127.0.0.1", "--port", port]
    with (model.parent / "server.log").open("w+") as log:
        server = subprocess.Popen(  # noqa: S603 - the program just installed
            [programs / "mlflow", "models", "serve", *options],
            env=outside(programs),
            cwd=model.parent,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/ping", server, log.name)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def wait_for(address: str, server: subprocess.Popen[bytes], log: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    with open(log, encoding="utf-8") as lines:  # noqa: PTH123 - the name an open file gives
        pytest.fail(f"the server did not start: {lines.read()[-2000:]}")


def test_the_server_answers_as_the_predictor(url: str, predictor: Predictor) -> None:
    data: dict[str, Any] = {"columns": ["image"], "data": [[text] for text in encoded()]}
    payload = {"dataframe_split": data, "params": {"top_k": 2}}
    response = requests.post(f"{url}/invocations", json=payload, timeout=30)
    assert response.status_code == 200
    assert response.json() == {"predictions": predictor.predict(PHOTOS, top_k=2)}


def test_the_server_says_what_is_wrong_with_a_request(url: str) -> None:
    payload = {"dataframe_split": {"columns": ["photo"], "data": [["abcd"]]}}
    response = requests.post(f"{url}/invocations", json=payload, timeout=30)
    assert response.status_code == 400
    assert "missing inputs ['image']" in response.json()["message"]
