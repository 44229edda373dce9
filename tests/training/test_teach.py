"""`teach`: a registered model learns what a yellow photo shows."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import pytest
import torch

from landmark_ml.config import TeachConfig
from landmark_ml.corrections import Correction, append_corrections
from landmark_ml.inference.predictor import (
    GRAPH_FILE,
    LANDMARK_SCORE,
    PROBABILITIES,
    Predictor,
)
from landmark_ml.inference.runtime import FEATURES
from landmark_ml.networks.export import OUTPUTS
from landmark_ml.networks.teaching import TaughtHead, Teaching, add_taught, embed
from landmark_ml.registry.register import log_model
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from landmark_ml.training.teach import ask_graph, read_taught, run_teaching
from tests.colour_artifact import BLUE, CLASSES, GREEN, RED, WHITE, colour_photo, gps_exif

YELLOW, ORANGE = (225, 215, 30), (250, 160, 90)
SHADES = [(0, 0, 0), (-20, -10, 0), (-10, -20, 10), (5, -30, 20)]


def shade(colour: tuple[int, int, int], number: int) -> bytes:
    red, green, blue = (max(0, a + b) for a, b in zip(colour, SHADES[number], strict=True))
    return colour_photo((red, green, blue), exif=gps_exif(48, 2))


def write_photos(folder: Path, colour: tuple[int, int, int], count: int = 4) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(shade(colour, number))
    return folder


@pytest.fixture(scope="module")
def teachable(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour artifact, which carries shades of its colours as photos that it learned from."""
    folder = tmp_path_factory.mktemp("teachable") / "artifact"
    shutil.copytree(artifact, folder)
    metadata, shades = Predictor.load(folder).metadata, range(len(SHADES))
    colours = [shade(colour, number) for colour in (RED, GREEN, BLUE, WHITE) for number in shades]
    pixels = np.stack([metadata.preprocessing.read(photo) for photo in colours])
    seen = ask_graph(onnx.load(folder / GRAPH_FILE), "f32", pixels, 1)
    mean, labels = seen[FEATURES].mean(dim=0), torch.arange(4).repeat_interleave(len(shades))
    best = seen[OUTPUTS][:, :3].log().amax(dim=1)
    scale, basis = torch.ones(len(mean)), torch.eye(len(mean))
    photos = embed(seen[FEATURES], mean, scale, basis)
    Teaching(mean, scale, basis, photos, labels, best, torch.tensor(3)).write(folder, {})
    return folder


@pytest.fixture
def model(teachable: Path, tracking_uri: str, request: pytest.FixtureRequest) -> str:
    """Name of a registered model that can be taught."""
    name = f"taught-{abs(hash(request.node.name))}"
    mlflow.set_experiment(DEFAULT_EXPERIMENT)
    with mlflow.start_run():
        logged = log_model(teachable, colour_photo(RED), {})
    version = mlflow.register_model(logged.model_uri, name).version
    mlflow.MlflowClient().set_registered_model_alias(name, "champion", version)
    return name


def config(tmp_path: Path, model: str, **values: Any) -> TeachConfig:
    given = {"photos": str(tmp_path / "new"), "cache_dir": str(tmp_path / "cache")}
    return TeachConfig(model=model, threads=1, **(given | values))


def ask(model: str, version: int, colour: tuple[int, int, int]) -> dict[str, Any]:
    loaded = mlflow.pyfunc.load_model(f"models:/{model}/{version}")
    answers = loaded.predict([{"image": shade(colour, 0)}])
    return dict(answers.iloc[0])


def test_a_taught_landmark_is_answered_with_its_place_and_the_known_stay(
    model: str, tmp_path: Path
) -> None:
    write_photos(tmp_path / "new" / "Yellow House", YELLOW)
    result = run_teaching(config(tmp_path, model))
    assert result.photos == {"Yellow House": 4}
    version = mlflow.MlflowClient().get_model_version_by_alias(model, "challenger")
    assert int(version.version) == result.registered.version == 2
    assert version.tags["taught_from"] == f"models:/{model}/1"
    answer = ask(model, 2, YELLOW)
    assert (answer["landmark"], answer["level"]) == ("Yellow House", "landmark")
    place = answer["candidates"][0]
    assert place["latitude"] == pytest.approx(48, abs=0.1)
    for colour in (RED, GREEN, BLUE, WHITE):
        before, after = ask(model, 1, colour), ask(model, 2, colour)
        assert before["landmark"] == after["landmark"]
        assert before["confidence"] == pytest.approx(after["confidence"], abs=0.02)


def test_a_taught_version_can_be_taught_again(model: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "new" / "Yellow House", YELLOW, count=2)
    run_teaching(config(tmp_path, model))
    write_photos(tmp_path / "more" / "Orange House", ORANGE)
    again = config(tmp_path, f"{model}/2", photos=str(tmp_path / "more"))
    assert run_teaching(again).registered.version == 3
    assert ask(model, 3, YELLOW)["landmark"] == "Yellow House"
    assert ask(model, 3, ORANGE)["landmark"] == "Orange House"


def test_a_photo_taught_twice_counts_once(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_photos(tmp_path / "new" / "Yellow House", YELLOW, count=2)
    run_teaching(config(tmp_path, model))
    (tmp_path / "new" / "Yellow House" / "2.jpg").write_bytes(shade(YELLOW, 2))
    again = run_teaching(config(tmp_path, f"{model}/2"))
    assert again.photos == {"Yellow House": 3}
    assert "Yellow House: taught before, 2 left out" in caplog.text


def test_photos_of_a_known_landmark_are_found_by_what_the_model_knows(
    model: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / CLASSES[0]
    folder.mkdir(parents=True)
    # Too unlike to be found by one another.
    for name, colour in {"red": RED, "pink": (250, 120, 160)}.items():
        (folder / f"{name}.jpg").write_bytes(colour_photo(colour))
    assert run_teaching(config(tmp_path, model)).found == {CLASSES[0]: 2}


def test_one_folder_with_a_name_and_a_position(model: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "new", YELLOW)
    run_teaching(config(tmp_path, model, name="Yellow House", position="10.5,20.25"))
    place = ask(model, 2, YELLOW)["candidates"][0]
    assert (place["latitude"], place["longitude"]) == (10.5, 20.25)


def test_the_graph_computes_what_torch_does(teachable: Path) -> None:
    graph, metadata = onnx.load(teachable / GRAPH_FILE), Predictor.load(teachable).metadata
    colours = [shade(colour, 1) for colour in (RED, YELLOW, ORANGE, WHITE)]
    pixels = np.stack([metadata.preprocessing.read(photo) for photo in colours])
    teaching, _ = Teaching.read(teachable)
    seen = ask_graph(graph, "f32", pixels, 1)
    embeddings = teaching.embed(seen[FEATURES])
    photos, labels = torch.cat([teaching.photos, embeddings[1:3]]), teaching.labels
    head = TaughtHead.fit(photos, torch.cat([labels, torch.tensor([4, 5])]), 3, 2)
    head = replace(head, bias=-0.5, floor=0.3)
    assert add_taught(graph, teaching, head, ["New", CLASSES[0]], CLASSES) == (*CLASSES, "New")
    found = ask_graph(graph, "f32", pixels, 1)
    odds = head.odds(embeddings)
    shares = torch.cat([torch.zeros(len(odds), 1), odds], dim=1).softmax(dim=1)
    expected = torch.zeros(len(odds), 4)
    expected[:, :3] = seen[OUTPUTS][:, :3] * shares[:, :1]
    expected[:, 3] += shares[:, 1]
    expected[:, 0] += shares[:, 2]
    assert torch.allclose(found[PROBABILITIES], expected, atol=1e-5)
    wins = shares[:, 1:].amax(dim=1) > (seen[OUTPUTS][:, :3] * shares[:, :1]).amax(dim=1)
    assert wins.any()
    assert not wins.all()
    score = torch.maximum(seen[LANDMARK_SCORE], (odds.amax(dim=1) - head.floor).sigmoid())
    expected = score.where(wins, seen[LANDMARK_SCORE])
    assert torch.allclose(found[LANDMARK_SCORE], expected, atol=1e-5)


def test_teaching_again_leaves_no_trace_of_the_time_before(teachable: Path) -> None:
    graph = onnx.load(teachable / GRAPH_FILE)
    teaching, _ = Teaching.read(teachable)

    def taught(count: int) -> TaughtHead:
        photos = torch.cat([teaching.photos, teaching.photos[:count]])
        labels = torch.cat([teaching.labels, 4 + torch.arange(count)])
        return TaughtHead.fit(photos, labels, 3, count)

    one, two = taught(1), taught(2)
    add_taught(graph, teaching, one, ["New"], CLASSES)
    once = graph.SerializeToString()
    add_taught(graph, teaching, two, ["Other", "More"], CLASSES)
    add_taught(graph, teaching, one, ["New"], CLASSES)
    assert graph.SerializeToString() == once


def test_photos_of_a_known_landmark_are_not_taught_as_another(model: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "new" / "Red House", RED)
    with pytest.raises(
        ValueError, match=r"4 of 4 photos of Red House with Tour Eiffel.*force=True"
    ):
        run_teaching(config(tmp_path, model))
    assert run_teaching(config(tmp_path, model, force=True)).registered.version == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda new: shutil.rmtree(new / "House"), "no folders named after landmarks"),
        (lambda new: shutil.copytree(new / "House", new / "Hut"), "same photo of two landmarks"),
        (lambda new: (new / "House" / "0.jpg").write_bytes(b"no"), "0 readable photos"),
    ],
)
def test_photos_that_cannot_be_taught_from(
    model: str, tmp_path: Path, spoil: Any, message: str
) -> None:
    write_photos(tmp_path / "new" / "House", YELLOW, count=1)
    spoil(tmp_path / "new")
    with pytest.raises(ValueError, match=message):
        run_teaching(config(tmp_path, model))


def test_a_model_that_cannot_be_taught_says_so(model_folder: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "new" / "House", YELLOW)
    with pytest.raises(ValueError, match=r"cannot be taught"):
        run_teaching(config(tmp_path, f"file://{model_folder}"))


def test_new_landmarks_come_from_corrections_too(tmp_path: Path) -> None:
    photos = sorted(write_photos(tmp_path / "library", YELLOW).iterdir())
    rights = ["Yellow House", "Yellow House", "tour eiffel", "Yellow House"]
    rows = [
        Correction(
            hashlib.sha256(photo.read_bytes()).hexdigest(), str(photo), "", "landmark", right
        )
        for photo, right in zip(photos, rights, strict=True)
    ]
    append_corrections(tmp_path / "corrections.csv", rows)
    photos[3].write_bytes(shade(ORANGE, 0))
    given = {"photos": "", "corrections": str(tmp_path / "corrections.csv")}
    names, found, _ = read_taught(config(tmp_path, "", **given), CLASSES)
    assert names == ["Yellow House"]
    assert [photo.path for photo in found] == photos[:2]
    with pytest.raises(ValueError, match="both given"):
        read_taught(config(tmp_path, "", corrections=given["corrections"]), CLASSES)
