"""`make` hands on what it is given."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKE = which("make") or ""

pytestmark = pytest.mark.skipif(not MAKE, reason="make is not installed here")


def planned(*arguments: str) -> str:
    """Commands that make would run."""
    done = subprocess.run(  # noqa: S603 - our own Makefile
        [MAKE, "--dry-run", "--directory", str(ROOT), "PHOTOS=library", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("transfer", '-P register="{model}"'),
        ("ensemble", '-P register="{model}"'),
        ("finetune", '-P register="{model}"'),
        ("distill", '-P register="{model}"'),
        ("scratch", '-P register="{model}"'),
        ("tune", '-P register="{model}"'),
        ("evaluate", '-P model="models:/{model}@champion"'),
        ("promote", '-P name="{model}"'),
        ("rollback", '-P name="{model}"'),
        ("history", '-P name="{model}"'),
        ("tag", '-P model="{model}"'),
        ("cluster", '-P model="{model}"'),
        ("serve", '"models:/{model}@champion"'),
        ("app", '--model="{model}"'),
    ],
)
@pytest.mark.parametrize("model", ["a-model-of-my-own", "a model of my own"])
def test_make_uses_the_model_that_is_named(model: str, target: str, asked: str) -> None:
    assert asked.format(model=model) in planned(target, f"MODEL={model}")
    assert model not in planned(target)


def test_another_model_than_the_champion_can_be_served() -> None:
    assert '-m "models:/landmarks/3"' in planned("serve", "MODEL_URI=models:/landmarks/3")


def test_photos_for_the_notebooks_are_found_from_where_make_was_called(tmp_path: Path) -> None:
    here = planned("notebooks", "LANDMARKS_DATA=my photos")
    assert '$(cd "my photos" && pwd)' in here
    assert 'LANDMARKS_DATA="$' not in planned("notebooks")
    missing = tmp_path / "missing"
    command = [MAKE, "--directory", str(ROOT), "--old-file=.venv/.installed", "notebooks"]
    done = subprocess.run(  # noqa: S603 - our own Makefile
        [*command, f"LANDMARKS_DATA={missing}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert f"LANDMARKS_DATA={missing} is no folder" in done.stdout


def test_cleaning_keeps_what_benchmarks_measured() -> None:
    removed = planned("clean").split()
    assert "build/lib" in removed
    assert "build" not in removed


@pytest.mark.parametrize("torch", ["", "cpu"])
def test_uv_installs_and_pip_does_where_uv_cannot_be_had(torch: str) -> None:
    commands = planned("install", f"TORCH={torch}", "--assume-new=pyproject.toml")
    with_uv, with_pip = commands.split("if [ -x .venv/bin/uv ]; then")[1].split("else")
    assert "uv pip install" in with_uv
    assert "-m pip install" in with_pip
    assert ("--torch-backend cpu" in with_uv) == bool(torch)
    assert ("whl/cpu" in with_pip) == bool(torch)
