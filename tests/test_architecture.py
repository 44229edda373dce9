"""The house stays in order: imports run one way, and importing does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from experiments.entry_points import ENTRY_POINTS
from tests.source_tree import ROOT, modules

SERVED = "landmark_ml.inference.predictor"
SLOW_TO_IMPORT = {"torch", "torchvision", "timm", "matplotlib", "openvino", "sklearn", "optuna"}
NOT_IN_THE_SERVED_MODEL = ("torch", "timm", "matplotlib", "mlflow", "sklearn")


def test_imports_run_one_way() -> None:
    """The contracts stand in `pyproject.toml` under `tool.importlinter`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def ask_python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter that starts in a folder, and return what it printed."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_served_model_loads_nothing_that_trains(tmp_path: Path) -> None:
    code = f"import json, {SERVED}\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(ask_python(code, tmp_path))
    assert SERVED in loaded
    assert not set(NOT_IN_THE_SERVED_MODEL) & set(loaded)


# Everything that the library needs is imported again: many seconds.
@pytest.mark.slow
def test_importing_the_library_does_nothing_else(tmp_path: Path) -> None:
    names = [name for name in modules() if name.startswith("landmark_ml")]
    names.remove("landmark_ml.inference.mlflow_model")
    # Where rich is installed scikit-learn loads it, and rich draws a number for its own use.
    code = f"""
import importlib, json, logging, random, matplotlib, sklearn.metrics
handlers, level, state = list(logging.root.handlers), logging.root.level, random.getstate()
for name in {names}:
    importlib.import_module(name)
ours = [log for name, log in logging.root.manager.loggerDict.items() if "landmark_ml" in name]
print(json.dumps({{
    "root handlers": logging.root.handlers != handlers,
    "root level": logging.root.level != level,
    "own handlers": any(getattr(log, "handlers", None) for log in ours),
    "seeded": random.getstate() != state,
    "backend": matplotlib.get_backend(auto_select=False) is not None,
    "pyplot": "matplotlib.pyplot" in sys.modules,
}}))
"""
    effects = json.loads(ask_python(code, tmp_path))
    assert not [name for name, happened in effects.items() if happened]
    assert list(tmp_path.iterdir()) == []


def test_mlflow_reports_nothing_unless_asked(tmp_path: Path) -> None:
    code = "import landmark_ml, os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    assert ask_python(code, tmp_path) == "true\n"
    said_before = "import os; os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'false'; "
    assert ask_python(said_before + code, tmp_path) == "false\n"


def loaded_by(commands: list[str], folder: Path) -> set[str]:
    """Modules that entry points have imported by the time they end."""
    code = f"""
import json, runpy
for command in {commands}:
    sys.argv[1:] = command.split()
    try:
        runpy.run_module("experiments", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        assert ended.code in (0, None) or "champion" in str(ended.code), ended.code
print(json.dumps(sorted(sys.modules)))
"""
    loaded = json.loads(ask_python(code, folder).splitlines()[-1])
    return {name.partition(".")[0] for name in loaded}


def test_help_imports_no_heavy_library(tmp_path: Path) -> None:
    commands = [f"{name} --help" for name in ENTRY_POINTS]
    loaded = loaded_by(["--help", *commands], tmp_path)
    assert "experiments" in loaded
    assert not loaded & {*SLOW_TO_IMPORT, "mlflow", "pandas", "scipy"}


@pytest.mark.usefixtures("tracking_uri")
def test_history_and_rollback_import_nothing_that_trains(tmp_path: Path) -> None:
    mlflow.MlflowClient().create_registered_model("told")
    loaded = loaded_by(["history told", "rollback told --reason=x"], tmp_path)
    assert "mlflow" in loaded
    assert not loaded & SLOW_TO_IMPORT
