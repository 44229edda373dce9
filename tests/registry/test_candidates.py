"""What is found in a logged model, and what it answers once loaded without pickle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.model import PythonModel

from landmark_ml.data import MANIFEST, NOT_A_LANDMARK, Dataset, Photo, write_manifest
from landmark_ml.data.scanning import FINGERPRINT_BYTES
from landmark_ml.registry.candidates import judge_version
from tests.colour_artifact import BLUE, CLASSES, GREEN, PLACES, RED, colour_photo, log_artifact

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("photos")
    photos = []
    for label, colour in enumerate((RED, GREEN, BLUE)):
        path: Path = root / f"{label}.jpg"
        path.write_bytes(colour_photo(colour))
        unlike = np.random.default_rng(label).bytes(FINGERPRINT_BYTES)
        photos.append(Photo(path, label, f"{label:064x}", 40, 32, unlike))
    return Dataset("colours", root, CLASSES, train=(), val=(), test=tuple(photos))


def test_a_sound_version_is_loaded_asked_and_looked_into(
    dataset: Dataset, tracking_uri: str, tmp_path: Path
) -> None:
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    client.create_registered_model("sound")
    # A run of its own: other tests hold that of the model to be without a manifest.
    with mlflow.start_run() as run:
        pass
    version = client.create_model_version("sound", f"models:/{model.model_id}", run.info.run_id)
    judged = judge_version(version, dataset, PLACES)
    assert (judged.problem, judged.pickles, judged.metrics["top1"]) == ("", (), 1.0)
    assert any(line.startswith("openvino==") for line in judged.requirements)
    assert 0 < judged.megabytes < 5
    # Its run was no training and has no manifest.
    assert judged.learned is None
    for learned in (1, 3):
        trained = replace(dataset, train=dataset.test[:learned], test=())
        write_manifest(trained, tmp_path / MANIFEST)
        client.log_artifact(run.info.run_id, str(tmp_path / MANIFEST))
        judged = judge_version(version, dataset, PLACES)
        assert (judged.learned, judged.problem) == (learned, "")
        assert ("photos" in judged.metrics) == (learned < 3)
        if judged.predictions:
            assert judged.predictions.photos == dataset.test[learned:]
    assert judged.report is None


def test_landmarks_that_a_version_does_not_know_are_judged_apart(
    dataset: Dataset, tracking_uri: str
) -> None:
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    client.create_registered_model("older")
    version = client.create_model_version("older", f"models:/{model.model_id}")
    tower, castle, nowhere = dataset.test
    new = replace(nowhere, label=3, path=castle.path, sha256=f"{3:064x}")
    grown = replace(dataset, classes=(*CLASSES, "Moai"), test=(tower, castle, nowhere, new))
    judged = judge_version(version, grown, PLACES)
    assert judged.predictions is not None
    assert judged.predictions.classes == CLASSES
    assert judged.metrics["top1"] == 1.0
    assert judged.predictions.unseen is not None
    assert [photo.sha256 for photo in judged.predictions.unseen.photos] == [new.sha256]


def test_corrected_photos_of_every_split_are_asked_about_unless_they_were_learned(
    dataset: Dataset, tracking_uri: str, tmp_path: Path
) -> None:
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    client.create_registered_model("corrected")
    tower, castle, nowhere = dataset.test
    write_manifest(replace(dataset, train=(nowhere,), test=()), tmp_path / MANIFEST)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / MANIFEST))
    version = client.create_model_version("corrected", f"models:/{model.model_id}", run.info.run_id)
    # Photos that people corrected after the training, one of a landmark that the model lacks.
    wrong = replace(castle, label=0, sha256=f"{4:064x}")
    new = replace(castle, label=3, sha256=f"{5:064x}")
    everyday = replace(castle, label=NOT_A_LANDMARK, sha256=f"{6:064x}")
    train = (nowhere, wrong, new, everyday)
    grown = replace(dataset, classes=(*CLASSES, "Moai"), train=train, test=(tower, castle))
    people = [photo.sha256 for photo in (*train, castle)]
    judged = judge_version(version, grown, PLACES, corrected=people)
    assert judged.metrics["photos"] == 2
    assert judged.corrected == {
        castle: (CLASSES[1], CLASSES[1]),
        wrong: (CLASSES[0], CLASSES[1]),
        new: ("Moai", CLASSES[1]),
        everyday: ("", CLASSES[1]),
    }


def test_a_version_whose_files_are_gone_does_not_end_the_judging_of_others(
    dataset: Dataset, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(tracking_uri)
    client.create_registered_model("gone")
    version = client.create_model_version("gone", "somewhere/deleted")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no such file: somewhere/deleted")

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", fail)
    judged = judge_version(version, dataset, PLACES)
    assert judged.report is None
    assert "deleted" in judged.problem
    assert (judged.version, judged.megabytes, judged.metrics) == (1, 0.0, {})


class OfAnotherForm:
    """A served model that answers without the fields of ours."""

    def predict(self, data: pd.DataFrame, params: object = None) -> pd.DataFrame:  # noqa: ARG002
        return pd.DataFrame({"label": ["cat"] * len(data)})


@pytest.mark.parametrize("failure", [None, TimeoutError()], ids=["other answers", "no message"])
def test_what_is_wrong_with_a_version_has_words_and_is_no_reason_to_stop(
    dataset: Dataset, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, failure: OSError | None
) -> None:
    client, model = mlflow.MlflowClient(), log_artifact(tracking_uri)
    name = "other" if failure is None else "silent"
    client.create_registered_model(name)
    version = client.create_model_version(name, f"models:/{model.model_id}", model.run_id)

    @contextmanager
    def open_other(*_: object, **__: object) -> Iterator[OfAnotherForm]:
        if failure is not None:
            raise failure
        yield OfAnotherForm()

    monkeypatch.setattr("landmark_ml.registry.candidates.open_served", open_other)
    judged = judge_version(version, dataset, PLACES)
    assert judged.report is None
    assert ("another form" if failure is None else "TimeoutError") in judged.problem


def test_a_pickled_model_is_found_and_not_loaded(
    dataset: Dataset, tracking_uri: str, tmp_path: Path
) -> None:
    # Tensors behind a header of 640 bytes, which a pickle's first two bytes happen to say too.
    tensors = tmp_path / "teaching.safetensors"
    tensors.write_bytes((640).to_bytes(8, "little") + b"{")

    class Pickled(PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            return model_input

    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="pickled", python_model=Pickled(), artifacts={"teaching": str(tensors)}
        )
    version = mlflow.register_model(logged.model_uri, "pickled")
    judged = judge_version(version, dataset, PLACES)
    assert judged.report is None
    assert "pickle" in judged.problem.lower()
    assert judged.pickles == ("python_model.pkl",)
