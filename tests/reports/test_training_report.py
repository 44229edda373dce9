"""The model card says what was measured, in the words of the metric table, and what is weak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from landmark_ml.config import TrainConfig
from landmark_ml.data import Dataset
from landmark_ml.evaluation.judge import Report
from landmark_ml.evaluation.metrics import METRICS, Metric, measure
from landmark_ml.evaluation.report import summary_table
from landmark_ml.reports.training_report import NetworkFacts, model_card
from tests.evaluation.made_up_predictions import CLASSES, predictions
from tests.tiny_networks import score_of_probability

if TYPE_CHECKING:
    import pytest

SCORES = {
    "landmarks": np.linspace(0, 1, 101, dtype=np.float32),
    "unseen": np.linspace(-0.995, 0.205, 121, dtype=np.float32),
    "distractors": np.zeros(0, dtype=np.float32),
}
REJECTION = replace(score_of_probability(0.1), scores=SCORES)
FACTS = NetworkFacts(3_400_000, 384_000_000, 224, 13_900_000, REJECTION)


def judged() -> Report:
    found = predictions([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    return Report(measure(found), found, pd.DataFrame())


def card(report: Report, facts: NetworkFacts = FACTS) -> str:
    dataset = Dataset("castles", Path(), CLASSES, train=(), val=(), test=report.predictions.photos)
    return model_card(TrainConfig(), dataset, facts, report)


def test_the_card_names_metrics_costs_and_weak_landmarks() -> None:
    text = card(judged())
    assert "Recognises 2 landmarks of `castles`" in text
    assert "| top-1 | 0.667 (0.208 to 0.939) |" in text
    assert "3.4 million parameters" in text
    assert text.index("| Castle | 2 | 0.50 (") < text.index("| Tower | 1 | 1.00 (")


def test_the_card_says_how_a_network_in_bf16_answers_without_instructions_for_it() -> None:
    assert "Trained, tested and served in f32.\n" in card(judged())
    text = card(judged(), replace(FACTS, precision="bf16", f32_agreement=0.991))
    assert "served in bf16, and in f32 where a processor has no instructions for it: 99.1%" in text


def test_a_metric_that_is_added_shows_on_page_and_card(monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = Metric("doubtful", "", lambda p: float((p.confidence < 0.75).sum()), on="cards")
    monkeypatch.setitem(METRICS, "doubtful", doubtful)
    report = judged()
    assert ("doubtful", "1.000") in summary_table(report)
    assert "| doubtful | 1.000 |" in card(report)


def test_the_card_says_which_other_photos_are_tagged() -> None:
    text = card(judged())
    assert (
        "tags 90.1% of photos of landmarks it knows, 9.1% of photos of landmarks it never" in text
    )
    assert "add a folder not_landmarks/" in text
    assert "landmarks left out in turn. The figure `rejection_curve_left_out`" in text


def test_the_card_of_a_network_that_knows_all_landmarks_claims_none_was_left_out() -> None:
    rejection = replace(REJECTION, scores=SCORES | {"unseen": SCORES["unseen"][:0]})
    text = card(judged(), replace(FACTS, rejection=rejection))
    assert "how many of landmarks it never learned was not measured" in text
    assert "left out in turn" not in text
    assert "rejection_curve_left_out" not in text
