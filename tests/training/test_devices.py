"""Where training runs: on the device asked for, or an error names the available ones."""

from __future__ import annotations

import io
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from landmark_ml.training.devices import (
    Compute,
    choose_compute,
    random_state,
    restore_random_state,
    seed_everything,
)
from landmark_ml.training.distributed import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_the_device_asked_for_is_used() -> None:
    assert choose_compute("cpu").device.type == "cpu"


def test_auto_takes_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_compute("auto") == Compute(torch.device("mps"), bf16=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_compute("auto").device.type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "abacus"])
def test_a_device_that_is_not_there_is_refused(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=rf"'{device}' is not available.*auto,.*cpu"):
        choose_compute(device)


def test_what_is_exact_is_computed_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    compute = Compute(torch.device("cpu"), bf16=True)
    with compute.exact.autocast():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.is_autocast_enabled("cpu")
    assert torch.backends.cudnn.allow_tf32
    with compute.autocast():
        assert torch.is_autocast_enabled("cpu")


def test_a_process_of_torchrun_decodes_on_its_share_of_the_cores(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    torch.set_num_threads(1)
    choose_compute("cpu", 0, Processes(0, 8, 0))
    assert torch.get_num_threads() == 4
    torch.set_num_threads(threads)


def test_threads_are_set_when_given(threads: int) -> None:
    choose_compute("cpu", threads + 1)
    assert torch.get_num_threads() == threads + 1
    choose_compute("cpu", 0)
    assert torch.get_num_threads() == threads + 1


def test_pictures_are_laid_out_channels_last_and_other_batches_are_not_touched() -> None:
    compute = Compute(torch.device("cpu"), bf16=False)
    pixels, features = torch.rand(2, 3, 4, 4), torch.rand(2, 5)
    sent = compute.send(pixels)
    assert sent.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(sent, pixels)
    assert torch.equal(compute.send(features), features)
    placed = compute.place(nn.Conv2d(3, 4, 3))
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_forward_pass_runs_in_the_chosen_precision(bf16: bool, dtype: torch.dtype) -> None:
    compute, layer = Compute(torch.device("cpu"), bf16=bf16), nn.Linear(4, 2)
    with compute.autocast():
        assert layer(torch.rand(3, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "bf16"),
    [
        ({}, False),
        ({"avx512_f": True, "amx_bf16": False, "avx512_bf16": False}, False),
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
    ],
)
def test_bfloat16_is_used_where_the_processor_computes_in_it(
    capabilities: dict[str, bool], bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_compute("cpu").bf16 is bf16


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
