"""Where training runs: on the device asked for, or an error names the available ones."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landmark_ml.training.batches import Augmentation, TensorBatches
from landmark_ml.training.devices import (
    ALONE,
    ON_CPU,
    Compute,
    Processes,
    ProcessLostError,
    align_random_state,
    choose_compute,
    join_processes,
    random_state,
    report_lost_processes,
    restore_random_state,
    seed_everything,
)
from tests.tiny_networks import processor_of


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


def test_float32_is_computed_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with Compute(torch.device("cpu"), bf16=False).autocast():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


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
    ("has", "precision", "bf16"),
    [(True, "auto", True), (True, "f32", False), (True, "bf16", True), (False, "auto", False)],
)
def test_bfloat16_is_used_where_the_processor_computes_in_it_unless_f32_is_asked_for(
    has: bool, precision: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor_of(monkeypatch, has_bf16=has)
    compute = choose_compute("cpu", precision=precision)
    assert (compute.bf16, compute.served_precision) == (bf16, "bf16" if bf16 else "f32")


def test_a_processor_that_only_converts_to_bfloat16_trains_in_f32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor_of(monkeypatch, has_bf16=True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx_ne_convert": True})
    assert choose_compute("cpu").precision == "f32"


def test_bfloat16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    processor_of(monkeypatch, has_bf16=False)
    with pytest.raises(ValueError, match=r"the cpu of this machine has no bf16 .*precision=f32"):
        choose_compute("cpu", precision="bf16")


def test_what_a_gpu_learned_in_bfloat16_is_served_in_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor_of(monkeypatch, has_bf16=False)
    assert Compute(torch.device("cuda"), bf16=True).served_precision == "f32"


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


def batches_of(
    rank: int, count: int, photos: int = 26, batch: int = 12, seed: int | None = 0
) -> TensorBatches:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    inputs = torch.arange(photos)
    compute = replace(ON_CPU, processes=Processes(rank, count, rank))
    return TensorBatches(inputs, inputs, batch, generator, compute=compute)


@pytest.mark.parametrize("count", [2, 3])
def test_the_parts_of_a_batch_are_the_batch_of_one_process(count: int) -> None:
    whole = [inputs.tolist() for inputs, _ in batches_of(0, 1)]
    parts = [[inputs.tolist() for inputs, _ in batches_of(rank, count)] for rank in range(count)]
    assert len(whole) == 2
    for step, batch in enumerate(whole):
        shares = [part[step] for part in parts]
        assert {len(part) for part in shares} == {12 // count}
        assert sorted(photo for part in shares for photo in part) == sorted(batch)
        # timm's mixup pairs a batch with its mirror: with the same partners in every part.
        partners = dict(zip(batch, reversed(batch), strict=True))
        for part in shares:
            assert [partners[photo] for photo in part] == part[::-1]


def test_validation_photos_are_shared_out_once_each() -> None:
    parts = [batches_of(rank, 3, photos=7, batch=6, seed=None) for rank in range(3)]
    seen = [[int(photo) for inputs, _ in part for photo in inputs] for part in parts]
    assert seen == [[0, 3, 6], [1, 4], [2, 5]]
    assert [len(part) for part in parts] == [2, 1, 1]


def test_rows_of_all_processes_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(14.0).view(7, 2)
    parts = [rows[rank::3] for rank in range(3)]
    monkeypatch.setattr(Processes, "gather", lambda *_: parts)
    assert torch.equal(Processes(1, 3, 1).gather_rows(parts[1]), rows)


def augmented(rank: int, count: int) -> torch.Tensor:
    pixels = torch.randint(0, 256, (1, 3, 12, 12), dtype=torch.uint8).repeat(8, 1, 1, 1)
    order = torch.Generator().manual_seed(0)
    compute = replace(ON_CPU, processes=Processes(rank, count, rank))
    batches = TensorBatches(
        pixels, torch.arange(8), 8, order, Augmentation(8), torch.ones(8), compute=compute
    )
    return next(iter(batches))[0]


def test_each_process_augments_in_its_own_way_and_the_same_in_every_run() -> None:
    torch.manual_seed(0)
    first, other = augmented(0, 2), augmented(1, 2)
    torch.manual_seed(0)
    assert torch.equal(augmented(0, 2), first)
    assert not torch.equal(first, other)


def test_a_batch_that_does_not_divide_evenly_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch of 10 photos .*; give a multiple of 8"):
        batches_of(0, 4, batch=10)
    with pytest.raises(ValueError, match="3 photos are too few for 2 processes"):
        batches_of(0, 2, photos=3)


def test_one_process_gets_back_what_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    model, value = nn.Linear(2, 2), torch.tensor([1.0, 2.0])
    with join_processes("auto") as processes:
        assert processes == ALONE
        assert processes.parallel(model) is model
        assert processes.mean(value) is value
        assert processes.share("it") == "it"
        assert processes.gather("it") == ["it"]
        processes.agree("it", "things")
        with processes.first_on_host():
            pass


def test_processes_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "gather", lambda *_: ["a", "b"])
    with pytest.raises(ValueError, match=r"the photos differ between processes \(a, b\); start"):
        Processes(0, 2, 0).agree("a", "photos")


def test_a_broken_connection_is_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = RuntimeError("pair.cc:553: Connection closed by peer [127.0.0.1]:1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ProcessLostError, match="resume=auto"), report_lost_processes():
        raise broken
    with pytest.raises(RuntimeError, match="mat1"), report_lost_processes():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RuntimeError, match="closed by peer"), report_lost_processes():
        raise broken


def test_fp16_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"fp16, in which GPUs alone train, .* is cpu"):
        choose_compute("cpu", precision="fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    compute = choose_compute("auto", precision="fp16")
    assert compute == Compute(torch.device("cuda:0"), bf16=False, fp16=True)
    assert (compute.precision, compute.served_precision) == ("fp16", "f32")
    assert compute.of_heads == Compute(torch.device("cuda:0"), bf16=False)


def _supports_bf16(including_emulation: bool = True) -> bool:
    """As on a GPU older than compute capability 8."""
    return including_emulation


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", _supports_bf16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    compute = choose_compute("auto", processes=Processes(5, 8, 1))
    assert compute.device == torch.device("cuda:1")
    assert not compute.bf16
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="no GPU of its own, there are 2"), join_processes("auto"):
        pass


def test_dropout_differs_between_processes_and_mixing_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed_everything(0)
    of_the_first = random_state()
    monkeypatch.setattr(Processes, "share", lambda *_: of_the_first)
    draws = []
    for rank in range(2):
        seed_everything(10 + rank)
        align_random_state(Processes(rank, 2, rank))
        draws.append((np.random.rand(), float(torch.rand(1))))
    assert draws[0][0] == draws[1][0]
    assert draws[0][1] != draws[1][1]
