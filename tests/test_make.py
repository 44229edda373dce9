"""`make` hands on what it is given."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from shutil import which

import pytest

from experiments import cli
from experiments.entry_points import ENTRY_POINTS

ROOT = Path(__file__).resolve().parents[1]
MAKE = which("make") or ""

pytestmark = pytest.mark.skipif(not MAKE, reason="make is not installed here")


def planned(*arguments: str) -> str:
    """Commands that make would run."""
    done = subprocess.run(  # noqa: S603 - our own Makefile
        [MAKE, "--dry-run", "--no-print-directory", "--directory", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def words(*arguments: str) -> list[str]:
    """Words of the command `landmarks` that make would run."""
    return shlex.split(planned(*arguments).splitlines()[-1])[1:]


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_make_hands_every_value_to_the_entry_point(entry: str) -> None:
    assert words(entry) == [entry]
    given = words(entry, "model=a model of my own", "port=8080", "TORCH=cpu", "PYTHON=python3.11")
    assert given == [entry, "--model=a model of my own", "--port=8080"]


@pytest.mark.parametrize(
    "value", ['it\'s $5 & "x" $$ `y` #1', "two  spaces", "", "-x", "a=b", "ü", "$(shell exit)", "*"]
)
def test_values_reach_the_entry_point_as_they_were_typed(value: str) -> None:
    assert words("rollback", f"reason={value}") == ["rollback", f"--reason={value}"]


def test_values_of_the_environment_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("data", "photos")
    assert words("transfer", "epochs=3") == ["transfer", "--epochs=3"]


def test_an_old_name_in_capitals_is_refused_with_the_new_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry, *given = words("tag", "PHOTOS=library")
    with pytest.raises(SystemExit) as exited:
        cli.parse(ENTRY_POINTS[entry].defaults, given)
    assert exited.value.code == 2
    assert "no parameter 'PHOTOS'; did you mean photos" in capsys.readouterr().err


def test_help_lists_every_entry_point() -> None:
    done = subprocess.run(  # noqa: S603 - our own Makefile
        [MAKE, "--directory", str(ROOT), "help"], capture_output=True, text=True, check=True
    )
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")}
    assert set(ENTRY_POINTS) < listed


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
