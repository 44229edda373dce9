"""Mini-batches: every photo once in order, shuffled by seed where asked."""

from __future__ import annotations

import pytest
import torch

from landmark_ml.training.augmentation import Augmentation
from landmark_ml.training.batches import TensorBatches


def numbered(count: int, batch_size: int, seed: int | None = None) -> TensorBatches:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return TensorBatches(torch.arange(count), torch.arange(count) * 10, batch_size, generator)


def order_of(batches: TensorBatches) -> list[int]:
    return [int(value) for inputs, _ in batches for value in inputs]


def test_without_a_generator_every_photo_comes_once_and_in_order() -> None:
    batches = numbered(11, 4)
    assert [len(inputs) for inputs, _ in batches] == [4, 4, 3]
    assert len(batches) == 3
    assert order_of(batches) == order_of(batches) == list(range(11))


def test_inputs_keep_their_targets_when_shuffled() -> None:
    for inputs, targets in numbered(20, 6, seed=1):
        assert torch.equal(targets, inputs * 10)


def test_a_pass_holds_no_photo_twice_and_drops_the_uneven_rest() -> None:
    batches = numbered(11, 4, seed=0)
    seen = order_of(batches)
    assert len(batches) == 2
    assert len(seen) == len(set(seen)) == 8


def test_shuffles_differ_between_epochs_and_repeat_by_seed() -> None:
    batches, same = numbered(32, 8, seed=3), numbered(32, 8, seed=3)
    first, second = order_of(batches), order_of(batches)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(32))
    assert [order_of(same), order_of(same)] == [first, second]
    assert order_of(numbered(32, 8, seed=4)) != first


@pytest.mark.parametrize(
    ("count", "asked", "given"), [(20, 7, 6), (5, 256, 4), (20, 8, 8), (1, 8, 1), (9, 1, 1)]
)
def test_batch_sizes_are_even_and_no_larger_than_the_data(
    count: int, asked: int, given: int
) -> None:
    batches = numbered(count, asked, seed=0)
    assert {len(inputs) for inputs, _ in batches} == {given}


def test_photos_are_augmented_anew_in_every_epoch() -> None:
    pixels = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    generator, aspects = torch.Generator().manual_seed(0), torch.ones(4)
    batches = TensorBatches(pixels, torch.arange(4), 4, generator, Augmentation(8), aspects)
    (first, _), (second, _) = next(iter(batches)), next(iter(batches))
    assert first.shape == second.shape == (4, 3, 8, 8)
    assert not torch.equal(first, second)


def test_inputs_without_a_target_each_are_refused() -> None:
    with pytest.raises(ValueError, match="3 inputs and 2 targets"):
        TensorBatches(torch.zeros(3), torch.zeros(2), 2)
    with pytest.raises(ValueError, match="0 inputs and 0 targets"):
        TensorBatches(torch.zeros(0), torch.zeros(0), 2)


def test_augmentation_without_its_inputs_is_refused() -> None:
    pixels, targets = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2)
    with pytest.raises(ValueError, match="generator"):
        TensorBatches(pixels, targets, 2, augment=Augmentation(8), aspects=torch.ones(2))
    with pytest.raises(ValueError, match="aspects"):
        TensorBatches(pixels, targets, 2, torch.Generator(), Augmentation(8))
