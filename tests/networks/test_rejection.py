"""The landmark score and its threshold: what is fitted, and that the graph computes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.export import Calibration, export_network
from landmark_ml.networks.rejection import (
    TAIL,
    LeftOut,
    References,
    choose_threshold,
    fit_rejection,
    rank,
    signals,
)
from tests.tiny_networks import lay_traced, random_pixels, small_config, tiny_model

CONFIG = small_config(max_unseen_tagged=0.05, max_everyday_tagged=0.01, min_known_tagged=0.9)


def spread(count: int, low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, count, dtype=np.float32)


def drawn(count: int, centre: list[float], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(centre) + torch.randn(count, len(centre), generator=generator)


REFERENCES = References(torch.eye(3), torch.zeros(2), torch.ones(2), torch.eye(3)[:, :2])


def left_out(everyday: float) -> LeftOut:
    """Known photos differ from unseen ones in signals 0 and 3, from everyday ones in 4 and 5."""
    return LeftOut(
        known=drawn(1000, [4, 0, 0, 4, 4, 4], 0),
        unseen=drawn(1000, [0, 0, 0, 0, 3, 3], 1),
        everyday=drawn(300, [everyday, 0, 0, everyday, -4, -4], 2),
        references=REFERENCES,
    )


def test_the_score_of_a_known_photo_is_the_share_of_known_photos_below_it() -> None:
    found = fit_rejection(left_out(everyday=0), CONFIG)
    known = np.sort(found.scores["landmarks"])
    assert known == pytest.approx(np.arange(1, 1001) / 1000, abs=1e-6)


def test_the_score_weighs_what_tells_landmarks_left_out_apart() -> None:
    examples = left_out(everyday=0)
    found = fit_rejection(examples, CONFIG)
    assert min(found.weights[0], found.weights[3]) > 5 * abs(found.weights[1:3]).max()
    # Each of the two signals alone would tag 10% at the same price.
    assert found.expected["unseen"] <= 0.01
    assert found.expected["landmarks"] > 0.95
    # Heads of two landmarks give all photos the same fourth signal; the model of three does not.
    for kind in (examples.known, examples.unseen, examples.everyday):
        kind[:, 3] = 1
    found = fit_rejection(examples, CONFIG)
    assert found.weights[3] == 0
    assert found.expected["unseen"] <= 0.05


@pytest.mark.parametrize("given", [0, 10])
def test_with_too_few_everyday_photos_strange_features_lower_the_score(given: int) -> None:
    examples = left_out(everyday=3)
    without = fit_rejection(replace(examples, everyday=examples.everyday[:given]), CONFIG)
    assert set(without.expected) == {"landmarks", "unseen"}
    assert len(without.known) == 3
    columns = [
        examples.everyday[:, :4].numpy() @ without.weights,
        *examples.everyday[:, 4:].numpy().T,
    ]
    scores = rank(columns, without.known)
    assert np.mean(scores >= without.threshold) < 0.01
    assert np.mean(rank(columns[:1], without.known[:1]) >= without.threshold) > 0.5


def test_the_threshold_is_the_lowest_that_keeps_both_limits() -> None:
    scores = {
        "landmarks": spread(1001, 0, 1),
        "unseen": spread(1000, -1, 0.08),
        "distractors": spread(1000, -1, 0.05),
    }
    threshold = choose_threshold(scores, CONFIG)
    assert np.mean(scores["distractors"] >= threshold) <= 0.01
    assert np.mean(scores["distractors"] >= threshold - 0.002) > 0.01
    looser = replace(CONFIG, max_everyday_tagged=1.0)
    threshold = choose_threshold(scores, looser)
    assert np.mean(scores["unseen"] >= threshold) <= 0.05
    assert np.mean(scores["unseen"] >= threshold - 0.002) > 0.05


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_known_landmarks_are_tagged_whatever_else_is(share: float) -> None:
    same = {kind: spread(500, 0, 1) for kind in ("landmarks", "unseen", "distractors")}
    threshold = choose_threshold(same, replace(CONFIG, min_known_tagged=share))
    kept = np.mean(same["landmarks"] >= threshold)
    assert share <= kept <= share + 0.005


@pytest.mark.parametrize("missing", ["unseen", "distractors"])
def test_what_cannot_be_measured_makes_the_threshold_strict(missing: str) -> None:
    scores = {
        "landmarks": spread(1000, 0.5, 1),
        "unseen": spread(10, 0, 0.1),
        "distractors": spread(10, 0, 0.1),
    }
    assert np.mean(scores["landmarks"] >= choose_threshold(scores, CONFIG)) == 1
    scores[missing] = scores[missing][:0]
    assert np.mean(scores["landmarks"] >= choose_threshold(scores, CONFIG)) == pytest.approx(0.9)


def test_where_no_landmark_was_left_out_the_probability_is_ranked() -> None:
    logits = torch.tensor([[9.0, 0, 0], [3.0, 0, 0], [1.0, 0, 0], [0.0, 0, 5]])
    examples = LeftOut.of_validation(logits, torch.tensor([0, 0, 0, 2]), 2)
    found = fit_rejection(examples, CONFIG)
    assert found.scores["landmarks"] == pytest.approx([1, 2 / 3, 1 / 3])
    assert found.scores["distractors"] == pytest.approx([0])
    assert found.references is None


@pytest.mark.parametrize(("landmarks", "photos"), [(10, 5000), (2000, 2500), (10_000, 500)])
def test_the_more_landmarks_the_fewer_photos_are_compared_with(landmarks: int, photos: int) -> None:
    features, targets = torch.randn(12_000, 2), torch.arange(12_000) % landmarks
    weight = torch.randn(2, landmarks)
    standardised = torch.zeros(2), torch.ones(2)
    found = References.of(features, targets, landmarks, standardised, lambda some: some @ weight)
    assert found.logits.shape == (photos, landmarks)
    assert found.centres.shape == (min(landmarks, 2000), 2)


@pytest.mark.parametrize("num_outputs", [3, 4], ids=["landmarks alone", "with background"])
@pytest.mark.parametrize("everyday", [0, 100])
def test_the_graph_scores_as_torch_does(num_outputs: int, everyday: int, tmp_path: Path) -> None:
    model = tiny_model(num_outputs)
    pixels = random_pixels(60)
    with torch.no_grad():
        features = model.features(pixels.permute(0, 3, 1, 2))
        logits = model.classifier(features)
        mean, scale = features.mean(dim=0), features.std(dim=0)
        references = References.of(
            features[:20], torch.arange(20) % 3, 3, (mean, scale), model.classifier
        )
    asked = signals(logits, 3, features, references)
    # Ranked among other photos: rounding would move a photo past itself.
    others = asked[20:]
    examples = LeftOut(others, others[:20], others.repeat(3, 1)[:everyday], references)
    rejection = fit_rejection(examples, CONFIG)
    weighed, features_too = asked[:20, :4].numpy() @ rejection.weights, asked[:20, 4:].numpy().T
    expected = rank([weighed, *features_too][: len(rejection.known)], rejection.known)
    folder = export_network(
        model,
        Calibration(0.37, rejection),
        ("a", "b", "c"),
        "abc",
        Gazetteer({}),
        folder=tmp_path / "artifact",
        cache=lay_traced(tmp_path / "cache"),
    )
    served = Runtime(folder / "model.onnx").run(pixels.numpy())["landmark_score"]
    assert len(rejection.known) == (1 if everyday else 3)
    moved = np.abs(served[:20] - expected)
    # Rounding differs by processor, and may move a photo past the next one: by one rank.
    assert moved.max() < 1.01 * TAIL / len(others)
    assert (moved > 1e-5).sum() <= 1
    assert len(set(expected.tolist())) > 5
