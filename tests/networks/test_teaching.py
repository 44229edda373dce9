"""A network that is taught: made-up landmarks, each a point in feature space with noise around."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from landmark_ml.networks.teaching import (
    COUNTS,
    Teaching,
    embed,
    examples,
    find_centres,
    fit_gates,
    taught_odds,
    whiten,
)

KNOWN, NEW, EACH, WIDTH, FOLDS = 10, 3, 40, 64, 5
NONE = KNOWN + NEW


def photos() -> tuple[Tensor, Tensor]:
    """Features [N, WIDTH] and labels [N]; NONE for everyday photos.

    Along half of the features photos of one landmark differ more than landmarks do.
    """
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(NONE + 1).repeat_interleave(EACH)
    middles = 2 * torch.randn(NONE + 1, WIDTH, generator=chance)
    noise = torch.randn(len(labels), WIDTH, generator=chance)
    noise[:, ::2] *= 4
    return middles[labels] + noise, labels


def learn(
    features: Tensor, labels: Tensor, rows: Tensor, known: list[int]
) -> tuple[Tensor, Tensor]:
    """Logits of all photos by a least-squares classifier, and the labels it knows them by."""
    place = torch.full((NONE + 1,), -1)
    place[[*known, NONE]] = torch.arange(len(known) + 1)
    told = place[labels]
    rows = rows & (told >= 0)
    answers = functional.one_hot(told[rows], len(known) + 1).float()
    return features @ torch.linalg.lstsq(features[rows], 8 * answers).solution, told


def test_thousands_of_landmarks_show_how_photos_of_one_differ() -> None:
    labels = torch.arange(6_000).repeat_interleave(2)
    features = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    basis, offset = whiten(features, labels, (torch.zeros(8), torch.ones(8)))
    assert torch.isfinite(embed(features, basis, offset)).all()


@pytest.fixture(scope="module")
def teaching() -> Teaching:
    """Of a network that knows the first landmarks; half of their photos are kept from its heads."""
    features, labels = photos()
    half = torch.arange(len(labels)) % 2 == 0
    base = (labels < KNOWN) | (labels == NONE)
    basis, offset = whiten(features[base], labels[base], (features.mean(0), features.std(0)))
    embeddings, lessons = embed(features, basis, offset), []
    for fold in range(FOLDS):
        kept = [label for label in range(KNOWN) if label % FOLDS != fold]
        logits, told = learn(features, labels, half & base, kept)
        learned = half & base & (told >= 0)
        centres = find_centres(embeddings[learned], told[learned], len(kept) + 1)
        known = base & ~half & (told >= 0)
        kinds = {
            "known": known & (labels != NONE),
            "unseen": base & (told < 0),
            "everyday": known & (labels == NONE),
        }
        lessons.append(
            {
                kind: examples(logits[rows], embeddings[rows], centres, told[rows], labels[rows])
                for kind, rows in kinds.items()
            }
        )
    centres = find_centres(embeddings[base], labels[base].clamp(max=KNOWN), KNOWN + 1)
    return Teaching(basis, offset, centres, *fit_gates(lessons))


@pytest.mark.parametrize("count", [1, 5, 20])
def test_taught_landmarks_are_found_and_take_nearly_no_other_photo(
    teaching: Teaching, count: int
) -> None:
    features, labels = photos()
    embeddings = embed(features, teaching.basis, teaching.offset)
    logits, _ = learn(features, labels, torch.ones(len(labels)) > 0, list(range(KNOWN)))
    taught = torch.stack([(labels == KNOWN + i).nonzero().flatten()[:count] for i in range(NEW)])
    sums = embeddings[taught].sum(dim=1)
    rows = functional.pad(sums, (0, 1), value=count)
    odds = taught_odds(teaching, rows, embeddings, logits)
    wins = odds.amax(dim=1) > logits.log_softmax(dim=1)[:, :KNOWN].amax(dim=1)
    others = (labels >= KNOWN) & (labels < NONE)
    others[taught] = False
    right = wins & (odds.argmax(dim=1) == labels - KNOWN)
    assert right[others].float().mean() > {1: 0.4, 5: 0.8, 20: 0.9}[count]
    assert wins[labels < KNOWN].float().mean() <= 0.01
    assert wins[labels == NONE].float().mean() <= 0.05


def test_more_landmarks_need_more_to_be_answered(teaching: Teaching) -> None:
    few, many = teaching.gate(5, 10), teaching.gate(5, 100)
    assert torch.equal(few[:-1], many[:-1])
    assert float(few[-1] - many[-1]) == pytest.approx(2.302585, abs=1e-5)


def test_between_two_numbers_of_photos_a_gate_lies_between_theirs(teaching: Teaching) -> None:
    less, between, more = (teaching.gate(count, 1)[0] for count in (2, 3, 5))
    assert min(less, more) <= between <= max(less, more)
    assert torch.equal(teaching.gate(50, 1), teaching.gate(COUNTS[-1], 1))


def test_what_was_written_is_read(teaching: Teaching, tmp_path: Path) -> None:
    taught = {"Tour/Eiffel": torch.arange(5.0)}
    teaching.write(tmp_path, taught)
    again, rows = Teaching.read(tmp_path)
    assert torch.equal(rows["Tour/Eiffel"], taught["Tour/Eiffel"])
    assert torch.equal(again.gates, teaching.gates)
    assert torch.allclose(again.basis, teaching.basis, atol=1e-3)


def test_a_model_without_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be taught.*transfer or ensemble"):
        Teaching.read(tmp_path)


def test_landmarks_of_one_photo_each_leave_nothing_to_fit_on() -> None:
    row = torch.randn(2, 8 + 4)
    row[:, 7] = torch.arange(2)
    gates, _ = fit_gates([{"known": row, "unseen": row, "everyday": row[:0]}])
    assert gates.shape == (0, 8)
