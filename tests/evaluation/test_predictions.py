"""A served model is judged by its own answers, each probability in its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.evaluation import metrics
from landmark_ml.evaluation.predictions import (
    Evaluation,
    answers_table,
    evaluate_served,
    mistakes,
    per_class,
    summarize,
)

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
        ranked = sorted(zip(chances, self.names, strict=True), reverse=True)[:top_k]
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


def evaluated(photos: tuple[Photo, ...]) -> Evaluation:
    return evaluate_served(FakeModel(), photos, CLASSES, NAMES)


def test_probabilities_are_put_in_their_places(photos: tuple[Photo, ...]) -> None:
    evaluation = evaluated(photos)
    assert evaluation.probabilities[1].tolist() == [0.2, 0.6, 0.1, 0.1]
    assert evaluation.probabilities.shape == (5, 4)
    assert evaluation.predictions.tolist() == [0, 1, 1, 3, 0]
    assert evaluation.confidence.tolist() == [0.7, 0.6, 0.9, 0.4, 0.28]
    assert evaluation.correct.tolist() == [True, False, False, True, False]
    assert evaluation.accepted.tolist() == [True, True, True, False, False]
    assert evaluation.shows_landmark.tolist() == [True] * 4 + [False]
    assert evaluation.landmark_scores == pytest.approx(evaluation.confidence * 0.8)


def test_many_photos_are_asked_about_in_batches(photos: tuple[Photo, ...]) -> None:
    model = FakeModel()
    evaluation = evaluate_served(model, photos * 30, CLASSES, NAMES)
    assert len(evaluation.photos) == 150
    assert 1 < max(model.asked) < 150
    assert evaluation.predictions.tolist() == [0, 1, 1, 3, 0] * 30


def test_a_refused_photo_is_named_with_the_reason(
    photos: tuple[Photo, ...], tmp_path: Path
) -> None:
    damaged = answered(tmp_path / "broken.jpg", "damaged", 1)
    with pytest.raises(ValueError, match=r"refused .*broken\.jpg: the photo ends too early"):
        evaluated((*photos, damaged))


def test_an_unknown_landmark_is_named(photos: tuple[Photo, ...]) -> None:
    model = FakeModel(names=("Big Ben", *NAMES[1:]))
    with pytest.raises(ValueError, match=r"0\.jpg with 'Big Ben', which is none of the 4"):
        evaluate_served(model, photos, CLASSES, NAMES)


def test_the_summary_of_photos_with_distractors(photos: tuple[Photo, ...]) -> None:
    evaluation = evaluated(photos)
    summary = summarize(evaluation)
    assert set(summary) == {
        "top1",
        "top1_low",
        "top1_high",
        "top3",
        "top3_low",
        "top3_high",
        "top5",
        "macro_f1",
        "ece",
        "gap",
        "landmarks_tagged",
        "photos",
        "distractors",
        "auroc",
        "fpr_at_95_recall",
        "distractors_tagged",
        "ms_per_photo",
    }
    assert (summary["top1"], summary["top5"]) == (0.5, 1.0)
    assert (summary["top1_low"], summary["top1_high"]) == metrics.wilson_interval(0.5, 4)
    assert (summary["photos"], summary["distractors"]) == (4, 1)
    assert (summary["landmarks_tagged"], summary["distractors_tagged"]) == (0.75, 0.0)
    assert (summary["auroc"], summary["fpr_at_95_recall"]) == (1.0, 0.0)
    # By confidence the answers are wrong, right, wrong, right, and one on a photo of none.
    assert summary["gap"] == pytest.approx((1 / 2 + 2 / 4) / 4)
    assert summary["macro_f1"] == pytest.approx((2 / 3 + 0 + 0 + 1) / 4)


def test_the_summary_without_distractors_has_no_rejection(photos: tuple[Photo, ...]) -> None:
    summary = summarize(evaluated(photos[:4]))
    assert summary["distractors"] == 0
    assert not {"auroc", "fpr_at_95_recall", "distractors_tagged"} & set(summary)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 photos to evaluate on"):
        evaluated(())


def test_answers_are_timed_one_photo_at_a_time(photos: tuple[Photo, ...]) -> None:
    model = FakeModel()
    evaluation = evaluate_served(model, photos, CLASSES, NAMES)
    assert model.asked.count(1) == 5
    assert summarize(evaluation)["ms_per_photo"] == evaluation.ms_per_photo > 0


def test_classes_are_counted_over_landmark_photos_only(photos: tuple[Photo, ...]) -> None:
    table = per_class(evaluated(photos)).set_index("landmark")
    assert table["photos"].to_dict() == dict(zip(CLASSES, (2, 0, 1, 1), strict=True))
    # The distractor, answered with the tower, does not count against it.
    assert table.loc["Tour Eiffel", "precision"] == 1.0


def test_mistakes_come_most_confident_first(photos: tuple[Photo, ...]) -> None:
    found = mistakes(evaluated(photos))
    assert [(m.path.name, m.label, m.prediction, m.confidence) for m in found] == [
        ("2.jpg", "Tour Eiffel", "Stonehenge", 0.9),
        ("1.jpg", "Atomium", "Stonehenge", 0.6),
    ]


def test_every_mistake_counts() -> None:
    photos = tuple(Photo(Path(f"{number}.jpg"), 0, str(number), 8, 8) for number in range(40))
    wrong = np.tile([0.0, 1.0], (40, 1))
    found = Evaluation(photos, CLASSES[:2], wrong, np.ones(40), np.ones(40, dtype=bool), 1.0)
    assert len(mistakes(found)) == 40


def test_the_table_of_answers_has_a_row_a_photo(photos: tuple[Photo, ...]) -> None:
    table = answers_table(evaluated(photos))
    assert table["sha256"].tolist() == ["0", "1", "2", "3", "4"]
    assert table["label"].tolist() == ["Tour Eiffel", "Atomium", "Tour Eiffel", "Matterhorn", ""]
    assert table["prediction"].tolist() == [CLASSES[best] for best in (0, 1, 1, 3, 0)]
    assert table["correct"].tolist() == [True, False, False, True, False]
    assert np.allclose(table["confidence"].astype(float), [0.7, 0.6, 0.9, 0.4, 0.28])
