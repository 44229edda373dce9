"""A network that is taught: made-up landmarks, each a point in feature space with noise around."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from landmark_ml.networks.rejection import References
from landmark_ml.networks.teaching import Teaching, learn, remember

KNOWN, NEW, EACH, WIDTH = 10, 3, 40, 64
NONE = KNOWN + NEW
THRESHOLD = 0.2


def photos(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features [N, WIDTH] and labels [N]; NONE for everyday photos.

    Along half of the features photos of one landmark differ more than landmarks do.
    """
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(NONE + 1).repeat_interleave(EACH)
    middles = 2 * torch.randn(NONE + 1, WIDTH, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(len(labels), WIDTH, generator=chance)
    noise[:, ::2] *= 4
    return middles[labels] + noise, labels


def answer(features: Tensor, seed: int = 0) -> Tensor:
    """Logits [N, KNOWN + 1] of a classifier that learned photos of the first and of no landmark."""
    learned, labels = photos(seed)
    rows = (labels < KNOWN) | (labels == NONE)
    told = functional.one_hot(labels[rows].clamp(max=KNOWN), KNOWN + 1).float()
    solution: Tensor = torch.linalg.lstsq(learned[rows], 8 * told).solution
    return features @ solution


def no_references(features: Tensor, landmarks: int) -> References:
    """Those of a head that standardises the features and knows so many landmarks."""
    blank = torch.zeros(0, landmarks), torch.zeros(landmarks, features.shape[1])
    return References(blank[0], features.mean(dim=0), features.std(dim=0), blank[1])


@pytest.fixture(scope="module")
def teaching() -> Teaching:
    features, labels = photos()
    rows = (labels < KNOWN) | (labels == NONE)
    features, targets = features[rows], labels[rows].clamp(max=KNOWN)
    # By one that has not learned these photos.
    top, best = answer(features, seed=3).log_softmax(dim=1)[:, :KNOWN].max(dim=1)
    confidence = top.where((best == targets) | (targets == KNOWN), torch.nan)
    return remember(features, targets, confidence, no_references(features, KNOWN))


def taught_by(teaching: Teaching, rows: list[Tensor]) -> dict[str, Tensor]:
    """What `learn` takes, of the features of each landmark's photos."""
    found = {}
    for number, features in enumerate(rows):
        rival = answer(features).log_softmax(dim=1)[:, :KNOWN].amax(dim=1)
        found[f"new {number}"] = torch.column_stack([teaching.embed(features), rival])
    return found


@pytest.mark.parametrize(("count", "least"), [(1, 0.4), (5, 0.8), (20, 0.9)])
def test_taught_landmarks_are_found_and_take_nearly_no_other_photo(
    teaching: Teaching, count: int, least: float
) -> None:
    features, labels = photos()
    rows = [features[labels == KNOWN + number][:count] for number in range(NEW)]
    head, found = learn(teaching, taught_by(teaching, rows), THRESHOLD)
    assert sum(found.values()) <= NEW * count
    if count == 20:
        assert sum(found.values()) >= 0.8 * NEW * count
    # Photos that neither was taught.
    features, labels = photos(seed=1)
    odds = head.odds(teaching.embed(features))
    best, answered = answer(features).log_softmax(dim=1)[:, :KNOWN].max(dim=1)
    wins = odds.amax(dim=1) > best
    right = wins & (odds.argmax(dim=1) == labels - KNOWN)
    new = (labels >= KNOWN) & (labels < NONE)
    assert right[new].float().mean() > least
    assert wins[answered == labels].float().mean() <= 0.03
    tagged = (odds.amax(dim=1) - head.floor).sigmoid() >= THRESHOLD
    assert tagged[labels == NONE].float().mean() <= 0.05


def test_thousands_of_landmarks_of_two_photos_are_remembered() -> None:
    labels = torch.arange(6_000).repeat_interleave(2)
    features = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    found = remember(features, labels, torch.zeros(len(labels)), no_references(features, 6_000))
    assert torch.isfinite(found.embed(features)).all()
    # Each has a mean, as some have no photo left.
    assert found.labels.bincount().min() == 1
    new = torch.column_stack([found.embed(torch.randn(2, 8)), torch.zeros(2)])
    head, _ = learn(found, {"new": new}, THRESHOLD)
    assert torch.isfinite(head.odds(found.photos)).all()


def test_what_was_written_is_read(teaching: Teaching, tmp_path: Path) -> None:
    taught = {"Tour/Eiffel": torch.tensor([[0.5, -0.5, -torch.inf]])}
    teaching.write(tmp_path, taught)
    again, rows = Teaching.read(tmp_path)
    assert torch.equal(rows["Tour/Eiffel"], taught["Tour/Eiffel"])
    assert torch.equal(again.labels, teaching.labels)
    features, _ = photos(seed=2)
    near = functional.cosine_similarity
    assert near(again.embed(features), teaching.embed(features)).min() > 0.999
    assert near(again.photos, teaching.photos).min() > 0.999


def test_a_photo_has_the_embedding_that_is_carried_of_it(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    # Far from zero, as features are after ReLU, and some are nearly the same for all photos.
    spread = torch.logspace(-3, 0, WIDTH)
    labels = torch.arange(KNOWN + 1).repeat_interleave(EACH)
    features = 5 + spread * torch.randn(len(labels), WIDTH, generator=chance)
    # Few enough and in order of their labels, so all are carried as they stand here.
    found = remember(features, labels, torch.zeros(len(labels)), no_references(features, KNOWN))
    found.write(tmp_path, {})
    again, _ = Teaching.read(tmp_path)
    # The graph stores the basis in fp16.
    for stored in (again, replace(again, basis=again.basis.half().float())):
        near = functional.cosine_similarity(stored.embed(features), again.photos)
        assert near.min() > 0.9995


def test_a_model_without_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be taught.*transfer or ensemble"):
        Teaching.read(tmp_path)
