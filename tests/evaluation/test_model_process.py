"""A model in a process of its own gives the same answers; its failures are reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import psutil
import pytest

from landmark_ml.evaluation.model_process import open_served
from landmark_ml.inference.predictor import Predictor
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo

# Whole runs and processes: they take longer than the fast suite has.
pytestmark = pytest.mark.slow


def test_answers_come_back_whole(
    model_folder: Path,
    predictor: Predictor,
    tmp_path: Path,
) -> None:
    photos = [colour_photo(RED), b"hello", colour_photo(WHITE), colour_photo(GREEN)]
    with open_served(model_folder, tmp_path) as served:
        answers = served.predict(pd.DataFrame({"image": photos}), params={"top_k": 2})
        assert answers.to_dict(orient="records") == predictor.predict(photos, top_k=2)
        with pytest.raises(ValueError, match="top_k is 0; give 1 or more"):
            served.predict(pd.DataFrame({"image": photos}), params={"top_k": 0})
        assert len(served.predict(pd.DataFrame({"image": photos[:1]}))) == 1
        assert served.peak_mb >= served.loaded_mb > 0


def test_a_model_is_held_to_the_threads_it_is_given(
    model_folder: Path,
    predictor: Predictor,
    tmp_path: Path,
) -> None:
    photos = [colour_photo(colour) for colour in (RED, WHITE, GREEN) * 12]
    running = {}
    for threads in (1, 8):
        with open_served(model_folder, tmp_path, threads) as served:
            answers = served.predict(pd.DataFrame({"image": photos}), params={"top_k": 5})
            (process,) = (
                child
                for child in psutil.Process().children()
                if any(part.endswith("model_process.py") for part in child.cmdline())
            )
            running[threads] = process.num_threads()
        assert answers.to_dict(orient="records") == predictor.predict(photos)
    assert running[8] >= running[1] + 7


def test_what_a_model_warns_of_when_it_is_loaded_is_passed_on(
    model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "warns"
    shutil.copytree(model_folder, folder)
    (code,) = [path for path in folder.rglob("predictor.py") if path.parent.name == "inference"]
    text = code.read_text(encoding="utf-8")
    code.write_text(f'{text}\nlogger.warning("%d%% in f32", 99)\n', encoding="utf-8")
    with open_served(folder, tmp_path):
        assert [record.getMessage() for record in caplog.records] == ["99% in f32"]


def test_a_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"ended with status 1.*MLmodel"),
        open_served(tmp_path, tmp_path),
    ):
        pass
