"""Photos to answers: order, refusals, thresholds, places, threads, unfit artifacts."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from landmark_ml.inference.photos import PhotoError, decode_photo
from landmark_ml.inference.prediction import Prediction
from landmark_ml.inference.predictor import Predictor, Scores
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import Runtime
from tests.colour_artifact import (
    BLUE,
    CASTLE,
    GREEN,
    NAMES,
    RED,
    TOWER,
    WHITE,
    colour_photo,
    gps_exif,
)
from tests.tiny_networks import processor_of


def landmarks(answers: list[Prediction]) -> list[str | None]:
    return [answer["landmark"] for answer in answers]


def copy_with(artifact: Path, folder: Path, **changes: Any) -> Path:
    """Copy of an artifact with fields of its metadata changed; None takes a field away."""
    shutil.copytree(artifact, folder)
    path = folder / "metadata.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in values.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return folder


def test_an_answer_tells_where_and_what(predictor: Predictor) -> None:
    (answer,) = predictor.predict([colour_photo(RED)])
    assert list(answer) == list(Prediction.__annotations__)
    assert answer["is_landmark"] is True
    assert (answer["landmark"], answer["city"], answer["country"]) == (
        "Eiffel Tower",
        "Paris",
        "France",
    )
    assert (answer["latitude"], answer["longitude"]) == (TOWER.latitude, TOWER.longitude)
    assert answer["location_source"] == "landmark"
    assert answer["level"] == "landmark"
    assert answer["tags"] == list(TOWER.tags)
    assert answer["error"] is None
    assert answer["confidence"] is not None
    assert answer["landmark_score"] is not None
    assert 0.9 < answer["confidence"] == pytest.approx(answer["landmark_score"], abs=0.002)


@pytest.mark.parametrize(
    ("agreement", "said"), [(0.985, "98.5% of the validation"), (None, "an unknown share of")]
)
def test_a_network_in_bf16_answers_in_f32_where_there_is_no_bf16_and_says_so_once(
    agreement: float | None,
    said: str,
    artifact: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = processor_of(monkeypatch, has_bf16=False)
    changes = {"precision": "bf16", "f32_agreement": agreement}
    loaded = Predictor.load(copy_with(artifact, tmp_path / "bf16", **changes))
    assert {precision for _, precision in asked} == {"f32"}
    assert landmarks(loaded.predict([colour_photo(GREEN)])) == [NAMES[1]]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "answers in f32" in line
    assert said in line


def test_a_network_in_bf16_answers_in_bf16_where_the_processor_has_it(
    artifact: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = processor_of(monkeypatch, has_bf16=True)
    loaded = Predictor.load(copy_with(artifact, tmp_path / "bf16", precision="bf16"))
    # One runtime for single photos, one for many.
    assert [precision for _, precision in asked].count("bf16") == 2
    assert landmarks(loaded.predict([colour_photo(GREEN)] * 3)) == [NAMES[1]] * 3
    assert not caplog.records


def test_answers_keep_the_order_of_many_photos(predictor: Predictor) -> None:
    order = [0, 2, 1, 1, 0, 2, 2] * 10
    photos = [colour_photo((RED, GREEN, BLUE)[index]) for index in order]
    assert landmarks(predictor.predict(photos)) == [NAMES[index] for index in order]


def test_no_photos_no_answers(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        (b"", "empty"),
        (b"hello", "not_an_image"),
        (colour_photo(RED, (400, 300))[:700], "truncated"),
    ],
)
def test_a_bad_photo_leaves_the_others_alone(photo: bytes, code: str, predictor: Predictor) -> None:
    good = [colour_photo(RED), colour_photo(GREEN)]
    first, refused, last = predictor.predict([good[0], photo, good[1]])
    assert [first, last] == predictor.predict(good)
    assert refused["error"] is not None
    assert refused["error"]["code"] == code
    assert refused["error"]["reason"]
    others = {name: value for name, value in refused.items() if name != "error"}
    assert set(others.values()) == {None}
    assert len(others) == len(Prediction.__annotations__) - 1
    assert predictor.predict([photo, photo]) == [refused, refused]


def test_candidates_are_the_best_in_order(predictor: Predictor) -> None:
    photo = colour_photo(GREEN)
    (answer,) = predictor.predict([photo], top_k=2)
    candidates = answer["candidates"]
    assert candidates is not None
    assert len(candidates) == 2
    assert candidates[0]["landmark"] == answer["landmark"] == "Château d'If"
    assert candidates[0]["confidence"] == answer["confidence"]
    assert candidates[0]["confidence"] >= candidates[1]["confidence"]
    assert candidates[0]["tags"] == list(CASTLE.tags)
    assert candidates[0]["city"] is None
    (everything,) = predictor.predict([photo], top_k=99)
    assert everything["candidates"] is not None
    assert sorted(item["landmark"] for item in everything["candidates"]) == sorted(NAMES)


def test_a_photo_of_no_landmark_has_no_place_and_no_tags(predictor: Predictor) -> None:
    (answer,) = predictor.predict([colour_photo(WHITE)])
    assert answer["is_landmark"] is False
    assert answer["landmark_score"] is not None
    assert answer["landmark_score"] < 0.1
    assert answer["tags"] == []
    absent = (
        "level",
        "landmark",
        "city",
        "country",
        "latitude",
        "longitude",
        "location_source",
        "error",
    )
    assert {name: answer[name] for name in absent} == dict.fromkeys(absent)  # type: ignore[literal-required]
    assert answer["candidates"]
    assert answer["confidence"] == answer["candidates"][0]["confidence"]


def test_the_threshold_given_overrides_that_of_the_model(
    artifact: Path, predictor: Predictor, tmp_path: Path
) -> None:
    photos = [colour_photo(RED), colour_photo(WHITE)]
    assert landmarks(predictor.predict(photos)) == ["Eiffel Tower", None]
    assert landmarks(predictor.predict(photos, threshold=1.0)) == [None, None]
    assert None not in landmarks(predictor.predict(photos, threshold=0.0))
    strict = Predictor.load(copy_with(artifact, tmp_path / "strict", threshold=1.0))
    assert landmarks(strict.predict(photos)) == [None, None]


def test_the_photo_knows_better_where_it_was_taken(predictor: Predictor) -> None:
    exif = gps_exif(12, 34)
    answers = predictor.predict([colour_photo(RED, exif=exif), colour_photo(WHITE, exif=exif)])
    for answer in answers:
        assert (answer["latitude"], answer["longitude"]) == (12, 34)
        assert answer["location_source"] == "exif"
    assert landmarks(answers) == ["Eiffel Tower", None]
    assert answers[0]["candidates"] is not None
    assert answers[0]["candidates"][0]["latitude"] == TOWER.latitude


def test_a_landmark_of_unknown_place_is_named_all_the_same(predictor: Predictor) -> None:
    (answer,) = predictor.predict([colour_photo(BLUE)])
    assert answer["landmark"] == "Nowhere"
    assert answer["tags"] == []
    assert (answer["latitude"], answer["location_source"], answer["city"]) == (None, None, None)


def test_an_uncertain_landmark_is_answered_with_its_country(artifact: Path, tmp_path: Path) -> None:
    unsure = Predictor.load(copy_with(artifact, tmp_path / "unsure", min_confidence=0.5))
    khaki, red = unsure.predict(
        [colour_photo((130, 130, 100)), colour_photo(RED)], top_k=1, threshold=0.2
    )
    assert (khaki["level"], khaki["landmark"], khaki["country"]) == ("country", None, "France")
    assert (khaki["is_landmark"], khaki["city"], khaki["latitude"]) == (True, None, None)
    assert khaki["location_source"] is None
    assert khaki["candidates"] is not None
    assert khaki["confidence"] is not None
    assert 0.5 <= khaki["confidence"] <= 1
    assert khaki["confidence"] > khaki["candidates"][0]["confidence"]
    assert (red["level"], red["landmark"]) == ("landmark", "Eiffel Tower")


def test_threads_do_not_mix_their_answers(predictor: Predictor) -> None:
    colours = [RED, GREEN, BLUE, WHITE]
    batches = [
        [colour_photo(colours[(index + step) % 4]) for step in range(1 + index % 3)]
        for index in range(48)
    ]
    expected = [predictor.predict(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predictor.predict, batches)) == expected


def test_a_photo_alone_gets_all_cores_and_photos_together_a_core_each(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    together = threading.Barrier(1)
    alone, each = predictor.runtime, predictor.batch_runtime

    def run_by(runtime: Runtime, name: str) -> Runtime:
        def run(pixels: NDArray[np.uint8]) -> Any:
            used.append(name)
            together.wait(10)
            return Runtime.run(runtime, pixels)

        monkeypatch.setattr(runtime, "run", run)
        return runtime

    own = Predictor(run_by(alone, "all cores"), run_by(each, "a core"), predictor.metadata, 2)

    def read(preprocessing: Preprocessing, photo: bytes) -> Any:
        together.wait(10)
        return preprocessing.pixels(decode_photo(photo))

    monkeypatch.setattr(Preprocessing, "read", read)
    own.predict([colour_photo(RED)])
    together = threading.Barrier(2)
    own.predict([colour_photo(RED), colour_photo(GREEN)])
    assert used == ["all cores", "a core", "a core"]


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_1_is_refused(top_k: int, predictor: Predictor) -> None:
    with pytest.raises(ValueError, match=f"top_k is {top_k}; give 1 or more"):
        predictor.predict([colour_photo(RED)], top_k=top_k)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_share(threshold: float, predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="give a number from 0 to 1"):
        predictor.predict([colour_photo(RED)], threshold=threshold)


def test_metadata_of_another_version_is_refused(artifact: Path, tmp_path: Path) -> None:
    folder = copy_with(artifact, tmp_path / "new", schema_version=1)
    with pytest.raises(ValueError, match=r"schema version 1 and this code reads 2; export"):
        Predictor.load(folder)


@pytest.mark.parametrize("field", ["classes", "preprocessing", "threshold", "min_confidence"])
def test_metadata_that_lacks_a_field_is_refused(field: str, artifact: Path, tmp_path: Path) -> None:
    folder = copy_with(artifact, tmp_path / "less", **{field: None})
    with pytest.raises(ValueError, match=rf"metadata\.json lacks '{field}'; export"):
        Predictor.load(folder)


@pytest.mark.parametrize("name", ["model.onnx", "metadata.json"])
def test_a_missing_file_is_named(name: str, artifact: Path, tmp_path: Path) -> None:
    folder = copy_with(artifact, tmp_path / "less")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Predictor.load(folder)


def test_scores_tell_where_the_network_looked(predictor: Predictor) -> None:
    photos = [colour_photo(RED), b"no photo", colour_photo(GREEN)]
    red, refused, green = predictor.score(photos)
    assert isinstance(red, Scores)
    assert isinstance(green, Scores)
    assert isinstance(refused, PhotoError)
    assert red.attention is not None
    assert red.attention.shape == (4, 4)
    # One colour looks the same everywhere.
    assert np.allclose(red.attention, red.attention.mean(), rtol=0.05)


def test_an_artifact_without_attention_still_answers(artifact: Path, tmp_path: Path) -> None:
    folder = copy_with(artifact, tmp_path / "old")
    graph = onnx.load(folder / "model.onnx")
    (index,) = [i for i, out in enumerate(graph.graph.output) if out.name == "attention"]
    del graph.graph.output[index]
    onnx.save(graph, folder / "model.onnx")
    old = Predictor.load(folder)
    assert landmarks(old.predict([colour_photo(RED)])) == ["Eiffel Tower"]
    (scores,) = old.score([colour_photo(RED)])
    assert isinstance(scores, Scores)
    assert scores.attention is None


def test_warming_up_changes_no_answer(artifact: Path, predictor: Predictor) -> None:
    warm = Predictor.load(artifact)
    warm.warm_up()
    photos = [colour_photo(RED), colour_photo(WHITE)]
    assert warm.predict(photos) == predictor.predict(photos)
