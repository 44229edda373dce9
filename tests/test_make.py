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
        ("transfer", '-P register="a-model-of-my-own"'),
        ("ensemble", '-P register="a-model-of-my-own"'),
        ("finetune", '-P register="a-model-of-my-own"'),
        ("scratch", '-P register="a-model-of-my-own"'),
        ("tune", '-P register="a-model-of-my-own"'),
        ("evaluate", '-P model="models:/a-model-of-my-own@champion"'),
        ("promote", '-P name="a-model-of-my-own"'),
        ("rollback", '-P name="a-model-of-my-own"'),
        ("history", '-P name="a-model-of-my-own"'),
        ("tag", '-P model="a-model-of-my-own"'),
        ("cluster", '-P model="a-model-of-my-own"'),
        ("serve", "models:/a-model-of-my-own@champion"),
        ("app", "--model=a-model-of-my-own"),
    ],
)
def test_the_model_that_is_named_is_the_one_that_is_meant(target: str, asked: str) -> None:
    assert asked in planned(target, "MODEL=a-model-of-my-own")
    assert "a-model-of-my-own" not in planned(target)
