"""The second way to start: a clone, `pip install mlflow uv`, and `mlflow run` makes the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import ROOT

pytestmark = pytest.mark.slow
NO_INDEX = ("Failed to fetch", "error sending request", "dns error", "Could not fetch URL")

READ = """
import json, mlflow
client = mlflow.MlflowClient("sqlite:///mlflow.db", "sqlite:///mlflow.db")
version = client.get_model_version_by_alias("landmarks", "champion")
run = client.get_run(version.run_id)
inside = mlflow.models.get_model_info(f"models:/{version.source.split('/')[-1]}").mlflow_version
print(json.dumps([run.info.status, run.data.metrics["test/top1"], inside, mlflow.__version__]))
"""


def test_mlflow_and_uv_are_enough_to_train(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the sources here are no clone")
    outside, clone = tmp_path / "outside", tmp_path / "clone"
    settings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "PYTHON", "VIRTUAL_ENV"))
    }
    settings |= {
        "PATH": f"{outside / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "MLFLOW_ENV_ROOT": str(tmp_path / "environments"),
        "UV_CONSTRAINT": str(clone / "constraints.txt"),
    }

    def run(*command: str, folder: Path = tmp_path) -> str:
        done = subprocess.run(  # noqa: S603 - our own clone
            command, cwd=folder, env=settings, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        if done.returncode and any(sign in said for sign in NO_INDEX):
            pytest.skip(f"the package index cannot be reached: {said[-500:]}")
        assert done.returncode == 0, said[-5000:]
        return done.stdout

    run("git", "clone", "--quiet", str(ROOT), str(clone))
    run(sys.executable, "-m", "venv", str(outside))
    python = str(outside / "bin" / "python")
    run(python, "-m", "pip", "install", "-q", "-c", str(clone / "constraints.txt"), "uv")
    # As `pip install mlflow` would, from the files that uv keeps; the second environment too.
    run("uv", "pip", "install", "-q", "--python", python, "mlflow")
    for drawn in (ROOT / ".cache").glob("postcards-*"):
        shutil.copytree(drawn, clone / ".cache" / drawn.name)
    values = ("-P", "epochs=2", "-P", "threads=2")
    run("mlflow", "run", ".", "-e", "transfer", "--env-manager", "uv", *values, folder=clone)
    status, top1, inside, version = json.loads(
        run(python, "-c", READ, folder=clone).splitlines()[-1]
    )
    assert (status, inside) == ("FINISHED", version)
    assert top1 > 0.2
