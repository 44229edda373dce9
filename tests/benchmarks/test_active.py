"""The benchmark of corrections: each choice starts from the same head and gets the same count."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.active import CHOICES, run_draw
from landmark_ml.config import TrainConfig
from landmark_ml.networks.heads import Head
from landmark_ml.training.cache import StoredRows
from landmark_ml.training.devices import ON_CPU
from landmark_ml.training.phases import fit_head

LANDMARKS = 4


def test_each_choice_starts_alike_and_learns_what_it_asked_about() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(LANDMARKS + 1, 16, generator=generator)
    learned: list[int] = []

    def photos(each: int) -> tuple[Tensor, Tensor]:
        targets = torch.arange(LANDMARKS + 1).repeat(each)
        noise = torch.randn(len(targets), 16, generator=generator)
        return middles[targets] + 1.5 * noise, targets

    def learn(features: Tensor, targets: Tensor) -> Head:
        learned.append(len(targets))
        rows = StoredRows(features, torch.arange(len(features)))
        config = TrainConfig(recipe="test", epochs=20)
        return fit_head(rows, targets, LANDMARKS + 1, LANDMARKS, config, ON_CPU)[0]

    found = {"train": photos(60), "val": photos(10), "test": photos(40)}
    measured = run_draw(found, learn, LANDMARKS, 1, (150,), seed=0)
    assert measured.keys() == CHOICES.keys()
    assert len({start for start, _ in measured.values()}) == 1
    first = LANDMARKS + 20
    assert learned == [first, first] + [first + 150] * len(CHOICES)
    assert all(after > start + 5 for start, after in measured.values())
