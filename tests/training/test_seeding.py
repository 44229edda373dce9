"""Generators go on where their state was taken, also from a file."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch

from landmark_ml.training.seeding import random_state, restore_random_state, seed_everything

Draws = tuple[list[float], list[float], list[float], list[float]]


def draws() -> Draws:
    return (
        [random.gauss() for _ in range(5)],
        np.random.random(5).tolist(),
        np.random.standard_normal(3).tolist(),
        torch.randn(5).tolist(),
    )


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    loaded: dict[str, Any] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    return loaded


def test_a_seed_decides_every_draw() -> None:
    seed_everything(5)
    first = draws()
    seed_everything(5)
    assert draws() == first
    seed_everything(6)
    assert not any(mine == theirs for mine, theirs in zip(draws(), first, strict=True))


@pytest.mark.parametrize("spent", [0, 1, 700])
def test_restored_generators_draw_the_same_again(spent: int) -> None:
    seed_everything(1)
    for _ in range(spent):
        # An odd count of normal numbers leaves one of the pair behind in the generator.
        random.gauss()
        np.random.standard_normal()
        torch.rand(1)
    state = through_a_file(random_state())
    expected = draws()
    seed_everything(2)
    restore_random_state(state)
    assert draws() == expected


def test_a_state_can_be_restored_twice() -> None:
    state = random_state()
    expected = draws()
    for _ in range(2):
        restore_random_state(state)
        assert draws() == expected


def test_the_generator_of_an_apple_gpu_goes_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.arange(3))
    monkeypatch.setattr(torch.mps, "set_rng_state", restored.append)
    state = through_a_file(random_state())
    restore_random_state(state)
    assert torch.equal(restored[0], torch.arange(3))
    restore_random_state({name: drawn for name, drawn in state.items() if name != "mps"})
    assert len(restored) == 1
