"""What a training says to do next fits together, whatever the model is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.summary import print_result
from landmark_ml.registry.register import Registered
from landmark_ml.training.run import TrainResult

if TYPE_CHECKING:
    import pytest

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
    print_result(TrainResult("id", "run 'x'", METRICS, "models:/m-1", registered, 12.0))
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
