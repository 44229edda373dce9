"""Several processes train what one would: each its part of every batch, none a photo twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landmark_ml.training.augmentation import Augmentation
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.devices import (
    align_random_state,
    choose_compute,
    random_state,
    seed_everything,
)
from landmark_ml.training.distributed import (
    ALONE,
    Processes,
    ProcessLostError,
    join_processes,
    report_lost_processes,
)


def batches_of(
    rank: int, count: int, photos: int = 26, batch: int = 12, seed: int | None = 0
) -> TensorBatches:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    inputs = torch.arange(photos)
    return TensorBatches(inputs, inputs, batch, generator, processes=Processes(rank, count, rank))


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
    processes = Processes(rank, count, rank)
    batches = TensorBatches(
        pixels, torch.arange(8), 8, order, Augmentation(8), torch.ones(8), processes=processes
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
