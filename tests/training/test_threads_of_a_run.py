"""A run keeps to its threads and precision to the end: where it reads photos and is judged too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion

from landmark_ml.config import DataConfig, EvaluateConfig, TrainConfig
from landmark_ml.data import Dataset, write_manifest
from landmark_ml.data.opening import open_dataset
from landmark_ml.evaluation import judge, report
from landmark_ml.evaluation.judge import choose_photos
from landmark_ml.evaluation.report import run_evaluation
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.predictor import Metadata
from landmark_ml.registry import candidates, register
from landmark_ml.registry.candidates import judge_version
from landmark_ml.training import run as training
from landmark_ml.training.devices import ALONE, one_thread
from landmark_ml.training.run import open_photos, run_training
from tests.colour_artifact import log_artifact
from tests.interrupted_runs import QUICK, write_colour_folders
from tests.tiny_networks import processor_of

THREADS = 2


class ReachedError(Exception):
    """A model would have been loaded, or photos read, on this number of threads."""


def stop_here(*given: object, **named: object) -> NoReturn:
    raise ReachedError(named.get("threads", given[-1]))


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """Set back the number of threads that a training sets."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_folders(tmp_path_factory.mktemp("threads") / "photos")


@pytest.fixture(scope="module")
def dataset(photos: Path) -> Dataset:
    return open_dataset(DataConfig(data=str(photos)))


@pytest.fixture
def manifest(dataset: Dataset, tmp_path: Path) -> Path:
    write_manifest(dataset, tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


# A whole training: it takes longer than the fast suite has.
@pytest.mark.slow
@pytest.mark.usefixtures("tracking_uri")
def test_a_training_keeps_to_its_threads_and_its_precision_to_the_end(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = processor_of(monkeypatch, has_bf16=True)
    loaded_on: list[object] = []

    def load_served(*given: Any, **named: Any) -> Any:
        loaded_on.append(named.get("threads", given[-1]))
        return register.load_served(*given, **named)

    monkeypatch.setattr(training, "load_served", load_served)
    config = TrainConfig(
        data=str(photos),
        cache_dir=str(tmp_path / "cache"),
        device="cpu",
        threads=THREADS,
        epochs=0,
        finetune_epochs=1,
        **QUICK,
    )
    result = run_training(config)
    assert loaded_on == [THREADS]
    folder = Path(mlflow.artifacts.download_artifacts(result.model_uri, dst_path=str(tmp_path)))
    metadata = Metadata.read(next(folder.rglob("metadata.json")))
    tags = mlflow.get_run(result.run_id).data.tags
    assert (tags["precision"], metadata.precision) == ("bf16", "bf16")
    # This processor computes both in f32.
    assert metadata.f32_agreement == 1.0
    # The model that was tested, for one photo and for many: network and what follows it.
    assert [each for _, each in asked[-4:]] == ["bf16", "f32", "bf16", "f32"]


def test_an_evaluation_asks_its_model_on_its_threads(
    photos: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = log_artifact(tracking_uri).model_uri
    config = EvaluateConfig(data=str(photos), model=model, threads=THREADS)
    monkeypatch.setattr(report, "open_served", stop_here)
    with pytest.raises(ReachedError, match=f"^{THREADS}$"):
        run_evaluation(config)


def test_a_promotion_asks_a_version_on_its_threads(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(candidates, "open_served", stop_here)
    version = ModelVersion("landmarks", "1", 0)
    with pytest.raises(ReachedError, match=f"^{THREADS}$"):
        judge_version(version, dataset, Gazetteer({}), THREADS)


def test_photos_are_compared_with_a_manifest_on_the_threads_of_the_run(
    photos: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "read_manifest", stop_here)
    monkeypatch.setattr(training, "read_manifest", stop_here)
    with pytest.raises(ReachedError, match=f"^{THREADS}$"):
        choose_photos(DataConfig(data=str(photos), threads=THREADS), manifest)
    with pytest.raises(ReachedError, match=f"^{THREADS}$"):
        open_photos(DataConfig(data=str(photos), threads=THREADS), ALONE, manifest.read_bytes())
