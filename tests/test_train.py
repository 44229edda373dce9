"""Training entry points: recipes by name, several processes, and what is said at the end."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import cli, train
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


def printed(
    capsys: pytest.CaptureFixture[str], registered: Registered | None, data: str = "postcards"
) -> str:
    photo = Path("photos/test/Eiffel Tower/1.jpg").resolve()
    result = TrainResult("id", "run 'x'", METRICS, {}, "models:/m-1", registered, 12.0, photo)
    train.print_result(replace(RECIPES["scratch"](), data=data), result)
    return capsys.readouterr().out


def test_a_champion_is_served_by_its_name_and_asked_about_a_test_photo(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = printed(capsys, Registered("my photos", 1, True, "the first version"), data="photos")
    assert "make serve model='my photos'  " in said
    assert "make query photo='photos/test/Eiffel Tower/1.jpg'  " in said
    assert "make tag photos=<folder> model='my photos'" in said
    assert "your own photos" not in said


def test_after_the_postcards_come_your_own_photos(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, Registered("landmarks", 1, True, "the first version"))
    assert "make serve   " in said
    assert "make scratch data=<folder> model=photos" in said
    assert "make tag" not in said


def test_a_challenger_is_served_on_the_port_that_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = printed(capsys, Registered("photos", 2, False, "version 1 is the champion"), "my data")
    assert "make serve model=models:/m-1" in said
    assert "make promote model=photos candidates=2 data='my data' val_fraction=0.08  " in said


def test_a_model_that_is_not_registered_can_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, None)
    assert "make serve model=models:/m-1" in said
    assert "registered" not in said


class StartedAgainError(Exception):
    """The process would have become another one here."""


def test_training_starts_again_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def become(_: str, command: list[str]) -> None:
        commands.append(command)
        raise StartedAgainError

    given = ["scratch", "no such folder", "--processes=8"]
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(sys, "argv", ["landmarks", *given])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(StartedAgainError):
        cli.main()
    (command,) = commands
    assert "--nproc-per-node=8" in command
    assert command[-5:] == ["-m", "experiments", *given]
