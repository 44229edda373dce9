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
def test_the_model_that_is_named_is_the_one_that_is_meant(
    model: str, target: str, asked: str
) -> None:
    assert asked.format(model=model) in planned(target, f"MODEL={model}")
    assert model not in planned(target)
