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
        ("transfer", '-P register="mine"'),
        ("ensemble", '-P register="mine"'),
        ("finetune", '-P register="mine"'),
        ("scratch", '-P register="mine"'),
        ("tune", '-P register="mine"'),
        ("evaluate", '-P model="models:/mine@champion"'),
        ("promote", '-P name="mine"'),
        ("rollback", '-P name="mine"'),
        ("history", '-P name="mine"'),
        ("tag", '-P model="mine"'),
        ("cluster", '-P model="mine"'),
        ("serve", "models:/mine@champion"),
        ("app", "--model=mine"),
    ],
)
def test_the_model_that_is_named_is_the_one_that_is_meant(target: str, asked: str) -> None:
    assert asked in planned(target, "MODEL=mine")
    assert "mine" not in planned(target)
