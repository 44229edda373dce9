"""Training entry points: recipes by name, several processes, and what is said at the end."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from experiments import train
from experiments.recipes import RECIPES
from landmark_ml.registry.register import Registered
from landmark_ml.training.run import TrainResult

METRICS = {
    "test/top1": 0.9,
    "test/top1_low": 0.8,
    "test/top1_high": 0.95,
    "test/top3": 1.0,
    "test/top3_low": 0.9,
    "test/top3_high": 1.0,
    "test/photos": 10.0,
}


def printed(capsys: pytest.CaptureFixture[str], registered: Registered | None) -> str:
    train.print_result(TrainResult("id", "run 'x'", METRICS, {}, "models:/m-1", registered, 12.0))
    return capsys.readouterr().out


def test_a_champion_is_served_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, Registered("my photos", 1, True, "the first version"))
    assert "make serve MODEL='my photos'" in said
    assert "make serve   " in printed(capsys, Registered("landmarks", 1, True, "the first version"))


def test_a_challenger_is_served_on_the_port_that_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = printed(capsys, Registered("photos", 2, False, "version 1 is the champion"))
    assert "make serve MODEL_URI=models:/m-1" in said
    assert 'make promote MODEL=photos PARAMS="-P candidates=2 ' in said


def test_a_model_that_is_not_registered_can_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, None)
    assert "make serve MODEL_URI=models:/m-1" in said
    assert "registered" not in said


class StartedAgainError(Exception):
    """The process would have become another one here."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_starts_again_under_torchrun(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def become(_: str, command: list[str]) -> None:
        commands.append(command)
        raise StartedAgainError

    given = [recipe, "--processes=8", "--data=no such folder"]
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(sys, "argv", ["train", *given])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # As `python -m` sets it; the main module of a test run is another one, or has none.
    spec = importlib.util.find_spec("experiments.train")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec, raising=False)
    with pytest.raises(StartedAgainError):
        train.main()
    (command,) = commands
    assert "--nproc-per-node=8" in command
    assert command[-5:] == ["-m", "experiments.train", *given]


@pytest.mark.parametrize("given", [[], ["transfr"], ["--epochs=3"]])
def test_a_training_without_a_recipe_is_refused(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *given])
    with pytest.raises(SystemExit) as exited:
        train.main()
    assert exited.value.code == 2
    assert "RECIPE" in capsys.readouterr().err
