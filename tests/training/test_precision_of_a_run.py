"""A run in bf16 from pixels to registry: it trains, exports, tests and records in that alone."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from landmark_ml.config import TrainConfig
from landmark_ml.inference.predictor import Metadata
from landmark_ml.training.run import run_training
from tests.interrupted_runs import QUICK, write_colour_folders
from tests.tiny_networks import processor_of

# Whole runs and processes: they take longer than the fast suite has.
pytestmark = pytest.mark.slow


def test_the_precision_of_a_run_is_that_of_its_model(
    tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = processor_of(monkeypatch, has_bf16=True)
    config = TrainConfig(
        data=str(write_colour_folders(tmp_path / "photos")),
        cache_dir=str(tmp_path / "cache"),
        epochs=0,
        finetune_epochs=1,
        device="cpu",
        **QUICK,
    )
    result = run_training(config)
    run = mlflow.get_run(result.run_id).data
    folder = Path(mlflow.artifacts.download_artifacts(result.model_uri, dst_path=str(tmp_path)))
    metadata = Metadata.read(next(folder.rglob("metadata.json")))
    assert (run.tags["precision"], metadata.precision) == ("bf16", "bf16")
    # This processor computes both in f32.
    assert metadata.f32_agreement == 1.0
    # The model that was tested, for one photo and for many: network and what follows it.
    assert [each for _, each in asked[-4:]] == ["bf16", "f32", "bf16", "f32"]
