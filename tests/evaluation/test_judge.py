"""Which photos a model is judged on, by which names, what it answers and where that stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from landmark_ml.config import DataConfig
from landmark_ml.data import NOT_A_LANDMARK, Photo, write_manifest
from landmark_ml.data.opening import open_dataset
from landmark_ml.evaluation.judge import (
    JudgeOptions,
    Predictions,
    choose_photos,
    judge,
    match_names,
    measure_latency,
    predict,
)
from landmark_ml.evaluation.metrics import measure
from landmark_ml.geo.gazetteer import Gazetteer, Place
from tests.colour_photos import write_colour
from tests.evaluation.made_up_predictions import predictions
from tests.photo_folders import write_photo, write_two_classes

TWO = ("Atomium", "Petra")


class Knows:
    """A served model of some landmarks, by the names it answers with."""

    def __init__(self, *names: str) -> None:
        self._candidates = [{"landmark": name} for name in names]
        self.asked: list[list[bytes]] = []

    def predict(self, data: pd.DataFrame, params: object = None) -> pd.DataFrame:  # noqa: ARG002
        self.asked.append(data["image"].tolist())
        return pd.DataFrame({"candidates": [self._candidates] * len(data)})


@pytest.mark.parametrize("labels", [(1, 1), (1, -1), (-1,)])
def test_photos_that_show_nothing_the_model_knows_are_refused(
    labels: tuple[int, ...], tmp_path: Path
) -> None:
    photos = []
    for number, label in enumerate(labels):
        path = tmp_path / f"{number}.png"
        write_colour(path, 0, number)
        photos.append(Photo(path, label, f"{number:064x}", 8, 8))
    model = Knows("Atomium")
    with pytest.raises(ValueError, match=r"none of the \d photos shows a landmark .* Atomium"):
        judge(model, photos, TWO, Gazetteer.load(None), JudgeOptions(unseen_apart=True))


BOTH = ("Tour_Eiffel", "Eiffel_Tower")
PLACE = ("Eiffel Tower",)


@pytest.mark.parametrize(
    ("learned", "shown", "names"),
    [
        (PLACE, BOTH[:1], PLACE),
        (PLACE, BOTH, PLACE),
        (BOTH, BOTH, BOTH),
        (BOTH, BOTH[:1], BOTH),
    ],
)
def test_a_landmark_is_known_by_its_place_or_by_its_label(
    learned: tuple[str, ...], shown: tuple[str, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    """Of two landmarks at one place the model answers with the labels."""
    write_colour(tmp_path / "0.png", 0, 0)
    photos = [Photo(tmp_path / "0.png", label, "0" * 64, 8, 8) for label in range(len(shown))]
    known, unseen, _, matched = match_names(Knows(*learned), photos, shown, Gazetteer.load(None))
    assert (len(known), unseen, tuple(matched)) == (len(shown), [], names)
    assert {photo.label for photo in known} == set(range(min(len(shown), len(names))))


def test_latency_is_the_median_of_single_photos_spread_over_all(tmp_path: Path) -> None:
    photos = []
    for number in range(40):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes([number]))
        photos.append(Photo(path, 0, str(number), 8, 8))
    model = Knows("Atomium")
    found = measure_latency(model, photos, 5)
    single = [asked for asked in model.asked if len(asked) == 1]
    assert single == [[b"\0"], [b"\0"], [b"\x0a"], [b"\x14"], [b"\x1d"], [b"\x27"]]
    assert 0 < found["ms_per_photo"] <= found["p99_ms"]
    assert found["photos_per_second"] > 0
    # Only a process of its own has a memory of its own.
    assert "peak_mb" not in found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_two_classes(tmp_path / "photos")


@pytest.fixture
def manifest(root: Path, tmp_path: Path) -> Path:
    write_manifest(open_dataset(DataConfig(data=str(root))), tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


def test_the_split_is_that_of_the_models_run(root: Path, manifest: Path) -> None:
    trained = open_dataset(DataConfig(data=str(root)))
    assert open_dataset(DataConfig(data=str(root), seed=7)).test != trained.test
    chosen = choose_photos(DataConfig(data=str(root), seed=7), manifest)
    assert (chosen.split, chosen.left_out, chosen.unchecked) == ("manifest", 0, "")
    assert chosen.photos == trained.test


def test_a_table_or_a_part_is_judged_and_not_the_folder_of_the_run(
    root: Path, manifest: Path
) -> None:
    paths = [path.relative_to(root) for path in sorted(root.glob("*/*.jpg")) if path.stem != "1"]
    table = pd.DataFrame({"path": paths, "label": [path.parent.name for path in paths]})
    trained = open_dataset(DataConfig(data=str(root)))
    part = choose_photos(DataConfig(data=str(root), max_landmarks=2), manifest)
    assert (part.split, part.photos) == ("data", trained.test)
    table = table.astype(str).assign(split=["test" if n % 2 else "train" for n in range(19)])
    table.to_csv(root / "mine.csv", index=False)
    chosen = choose_photos(DataConfig(data=str(root / "mine.csv")), manifest)
    listed = {root / path for path in table["path"][table["split"] == "test"]}
    assert chosen.split == "data"
    assert {photo.path for photo in chosen.photos} == listed & {p.path for p in trained.test}


def test_training_photos_are_left_out_of_another_folder(
    root: Path, manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = {photo.sha256 for photo in open_dataset(DataConfig(data=str(root))).train}
    write_photo(root / "3.Stonehenge" / "new.jpg", seed=77)
    moved = root.rename(tmp_path / "moved")
    (moved / "16.Eiffel_Tower").rename(moved / "Eiffel_Tower")
    chosen = choose_photos(DataConfig(data=str(moved), seed=7), manifest, every=True)
    assert chosen.split == "data"
    assert not {photo.sha256 for photo in chosen.photos} & trained
    assert "new.jpg" in {photo.path.name for photo in chosen.photos}
    assert chosen.left_out + len(chosen.photos) == 21
    assert "are left out" in caplog.text


def test_nothing_but_training_photos_is_refused(root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(DataConfig(data=str(root)))
    path = tmp_path / "manifest.json"
    everything = (*dataset.train, *dataset.val, *dataset.test)
    write_manifest(replace(dataset, train=everything, val=(), test=()), path)
    with pytest.raises(ValueError, match="trained on or chosen by 20 of 20"):
        choose_photos(DataConfig(data=str(root)), path, every=True)


def test_near_duplicates_of_training_photos_are_left_out(
    root: Path, manifest: Path, tmp_path: Path
) -> None:
    trained = open_dataset(DataConfig(data=str(root)))
    copies = tmp_path / "copies"
    for split in (trained.train, trained.test):
        for photo in split:
            path = copies / photo.path.relative_to(root).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(photo.path) as picture:
                picture.resize((72, 60)).save(path)
    chosen = choose_photos(DataConfig(data=str(copies)), manifest, every=True)
    assert (chosen.left_out, chosen.unchecked) == (len(trained.train), "")
    assert {photo.path.stem for photo in chosen.photos} == {p.path.stem for p in trained.test}


def test_a_missing_manifest_is_reported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose_photos(DataConfig(data=str(root)), None)
    assert (chosen.split, chosen.unchecked) == ("data", UNKNOWN)
    assert chosen.photos == open_dataset(DataConfig(data=str(root))).test
    assert "cannot be checked" in caplog.text


def test_a_damaged_manifest_is_as_good_as_none(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "manifest.json"
    damaged.write_text('{"photos": [{}]}')
    chosen = choose_photos(DataConfig(data=str(root)), damaged, every=True)
    assert (chosen.left_out, chosen.unchecked) == (0, UNKNOWN)
    assert "is damaged" in caplog.text


UNKNOWN = "whether the model was trained on some of these photos"
CLASSES = ("Tour Eiffel", "Stonehenge", "Atomium", "Matterhorn")
NAMES = ("Eiffel Tower", "Stonehenge", "Atomium", "Matterhorn")
REFUSAL = {"code": "truncated", "reason": "the photo ends too early"}


@dataclass
class FakeModel:
    """Answers a photo whose bytes spell probabilities in class order, best candidate first."""

    asked: list[int] = field(default_factory=list)
    names: tuple[str, ...] = NAMES
    score: float = 0.8

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        self.asked.append(len(data))
        top_k = (params or {}).get("top_k", 1)
        return pd.DataFrame([self._answer(image, top_k) for image in data["image"]], dtype=object)

    def _answer(self, image: bytes, top_k: int) -> dict[str, Any]:
        if image == b"damaged":
            return {
                "candidates": None,
                "landmark_score": None,
                "is_landmark": None,
                "error": REFUSAL,
            }
        chances = [float(chance) for chance in image.decode().split()]
        pairs = zip(chances, self.names, strict=True)
        ranked = sorted(pairs, key=lambda pair: -pair[0])[:top_k]
        return {
            "candidates": [{"landmark": name, "confidence": chance} for chance, name in ranked],
            "landmark_score": ranked[0][0] * self.score,
            "is_landmark": ranked[0][0] >= 0.5,
            "error": None,
        }


def answered(path: Path, chances: str, label: int) -> Photo:
    path.write_text(chances)
    return Photo(path, label, sha256=path.stem, width=8, height=8)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    rows = [
        ("0.7 0.1 0.1 0.1", 0),
        ("0.2 0.6 0.1 0.1", 2),
        ("0.05 0.9 0.03 0.02", 0),
        ("0.3 0.1 0.2 0.4", 3),
        ("0.28 0.24 0.26 0.22", NOT_A_LANDMARK),
    ]
    return tuple(answered(tmp_path / f"{i}.jpg", *row) for i, row in enumerate(rows))


def answers(photos: tuple[Photo, ...], model: FakeModel | None = None) -> Predictions:
    return predict(model or FakeModel(), photos, CLASSES, NAMES, Gazetteer({}))


def test_probabilities_are_put_in_their_places(photos: tuple[Photo, ...]) -> None:
    found = answers(photos)
    assert found.best.tolist() == [0, 1, 1, 3, 0]
    assert found.confidence.tolist() == [0.7, 0.6, 0.9, 0.4, 0.28]
    assert found.rank.tolist() == [0, 2, 1, 0, 4]
    assert found.correct.tolist() == [True, False, False, True, False]
    assert found.accepted.tolist() == [True, True, True, False, False]
    assert found.shows_landmark.tolist() == [True] * 4 + [False]
    assert found.landmark_scores == pytest.approx(found.confidence * 0.8)


def test_a_model_of_many_landmarks_is_asked_for_the_first_five(tmp_path: Path) -> None:
    names = tuple(f"Landmark {number}" for number in range(9))
    chances = " ".join(str((9 - number) / 45) for number in range(9))
    shown = [answered(tmp_path / f"{label}.jpg", chances, label) for label in (0, 4, 5, 8)]
    found = predict(FakeModel(names=names), shown, names, names, Gazetteer({}))
    assert found.rank.tolist() == [0, 4, 5, 5]
    assert (measure(found)["top1"], measure(found)["top5"]) == (0.25, 0.5)


def test_many_photos_are_asked_about_in_batches(photos: tuple[Photo, ...]) -> None:
    model = FakeModel()
    found = answers(photos * 30, model)
    assert len(found.photos) == 150
    assert 1 < max(model.asked) < 150
    assert found.best.tolist() == [0, 1, 1, 3, 0] * 30


def test_a_refused_photo_is_named_with_the_reason(
    photos: tuple[Photo, ...], tmp_path: Path
) -> None:
    damaged = answered(tmp_path / "broken.jpg", "damaged", 1)
    with pytest.raises(ValueError, match=r"refused .*broken\.jpg: the photo ends too early"):
        answers((*photos, damaged))


def test_an_unknown_landmark_is_named(photos: tuple[Photo, ...]) -> None:
    model = FakeModel(names=("Big Ben", *NAMES[1:]))
    with pytest.raises(ValueError, match=r"0\.jpg with 'Big Ben', which is none of the 4"):
        answers(photos, model)


def test_classes_are_counted_over_landmark_photos_only(photos: tuple[Photo, ...]) -> None:
    table = answers(photos).per_class().set_index("landmark")
    assert table["photos"].to_dict() == dict(zip(CLASSES, (2, 0, 1, 1), strict=True))
    # The distractor, answered with the tower, does not count against it.
    assert table["precision"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert table["recall"].tolist() == [0.5, 0.0, 0.0, 1.0]
    assert table["f1"].tolist() == pytest.approx([2 / 3, 0.0, 0.0, 1.0])
    # One of two, and of a landmark without photos nothing is known.
    assert table["recall_low"].tolist()[:2] == pytest.approx([0.095, 0], abs=0.001)
    assert table["recall_high"].tolist()[:2] == pytest.approx([0.905, 1], abs=0.001)


def test_the_table_of_answers_has_a_row_a_photo(photos: tuple[Photo, ...]) -> None:
    table = answers(photos).table()
    assert table["sha256"].tolist() == ["0", "1", "2", "3", "4"]
    assert table["label"].tolist() == ["Tour Eiffel", "Atomium", "Tour Eiffel", "Matterhorn", ""]
    assert table["prediction"].tolist() == [CLASSES[best] for best in (0, 1, 1, 3, 0)]
    assert table["correct"].tolist() == [True, False, False, True, False]
    assert np.allclose(table["confidence"].astype(float), [0.7, 0.6, 0.9, 0.4, 0.28])


TOWER = Place("Tower", "Paris", "France", "FR", 48.8584, 2.2945)
ARCH = Place("Arch", "Paris", "France", "FR", 48.8738, 2.2950)
PORT = Place("Port", "Nice", "France", "FR", 43.695, 7.285)


def said(level: str | None, place: Place | None, **changes: Any) -> dict[str, Any]:
    """An answer at a level, whose candidates are the arch and the port."""
    shown = place if place and level != "country" else None
    answer = {
        "level": level,
        "is_landmark": level is not None,
        "landmark_score": 1.0,
        "city": shown.city if shown else None,
        "country": place.country if place else None,
        "latitude": shown.latitude if shown else None,
        "longitude": shown.longitude if shown else None,
        "location_source": level,
        "candidates": [
            {"city": found.city, "latitude": found.latitude, "longitude": found.longitude}
            for found in (ARCH, PORT)
        ],
    }
    return answer | changes


EQUATOR = {"location_source": "exif", "latitude": 0.0, "longitude": 0.0}
ROWS: list[tuple[int, int, dict[str, Any]]] = [
    (0, 0, said("landmark", TOWER)),
    (0, 1, said("city", ARCH)),
    (0, 2, said("landmark", PORT)),
    (2, 0, said("country", TOWER)),
    (2, 0, said("city", TOWER)),
    (1, 1, said(None, None)),
    (1, 1, said("landmark", ARCH, **EQUATOR)),
    (NOT_A_LANDMARK, 0, said("landmark", TOWER)),
]


def located(
    rows: list[tuple[int, int, dict[str, Any]]], places: tuple[Place | None, ...]
) -> Predictions:
    labels, best, found = zip(*rows, strict=True)
    return predictions(labels, np.eye(3)[list(best)].tolist(), found, ("t", "a", "p"), places)


def test_kilometres_are_those_between_answer_and_landmark() -> None:
    found = located(ROWS, (TOWER, ARCH, PORT)).kilometres
    assert found[[0, 1]].tolist() == pytest.approx([0, 1.71], abs=0.01)
    assert found[2] == pytest.approx(690, rel=0.02)
    # A country and a rejected photo are nowhere; one of no landmark has nowhere to be.
    assert np.isinf(found[[3, 5]]).all()
    assert np.isnan(found[7])
    # The camera's own position says nothing of the model.
    assert found[6] == 0
    assert np.isnan(located(ROWS, (None, ARCH, PORT)).kilometres[0])


@pytest.mark.parametrize(
    ("answer", "kilometres"),
    [
        (said("landmark", ARCH, **EQUATOR), 690),
        (said("city", PORT, **EQUATOR), 0),
        (said("country", PORT, **EQUATOR), np.inf),
        (said(None, None, **EQUATOR), np.inf),
    ],
)
def test_the_position_in_a_photo_does_not_answer_for_the_model(
    answer: dict[str, Any], kilometres: float
) -> None:
    found = located([(2, 0, answer)], (TOWER, ARCH, PORT)).kilometres
    assert found.tolist() == pytest.approx([kilometres], rel=0.02)


def test_each_level_is_right_in_its_own_way() -> None:
    found = located(ROWS, (TOWER, ARCH, PORT))
    assert found.level_right.tolist() == [True, True, False, True, False, True, True, False]
    shares = {name: value for name, value in measure(found).items() if "level" in name}
    assert shares == pytest.approx(
        {
            "landmark_level": 3 / 7,
            "landmark_level_precision": 2 / 3,
            "city_level": 2 / 7,
            "city_level_precision": 1 / 2,
            "country_level": 1 / 7,
            "country_level_precision": 1,
        }
    )


def test_a_model_from_before_levels_has_none() -> None:
    old = [
        (label, best, {key: value for key, value in answer.items() if key != "level"})
        for label, best, answer in ROWS
    ]
    found = located(old, (TOWER, ARCH, PORT))
    assert not any("level" in name for name in measure(found))
    assert found.kilometres[0] == 0
