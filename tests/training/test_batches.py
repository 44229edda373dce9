"""Mini-batches: every photo once in order, shuffled by seed where asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from landmark_ml.training.batches import (
    Augmentation,
    TensorBatches,
    erase_boxes,
    jitter_colors,
    random_resized_crop,
)


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


STILL = Augmentation(size=24, min_crop=1.0, max_ratio=1.0, degrees=0.0, color_jitter=0.0)
STRONG = Augmentation(size=20, min_crop=0.2, color_jitter=0.9, erasing=0.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, side: int = 24) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=seeded())


def ramp(count: int, *, across: bool, side: int = 64) -> Tensor:
    """Photos that grow brighter from left to right, or from top to bottom."""
    line = torch.linspace(0, 255, side)
    square = line.expand(side, side) if across else line[:, None].expand(side, side)
    return square.round().to(torch.uint8).expand(count, 3, side, side)


def spans(images: Tensor) -> Tensor:
    """Share of the brightness range each image covers."""
    return (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))) / 255


def test_shape_dtype_and_range() -> None:
    images = STRONG(noise(16), torch.linspace(0.3, 3, 16), seeded())
    assert images.shape == (16, 3, 20, 20)
    assert images.dtype == torch.float32
    assert float(images.min()) >= 0
    assert float(images.max()) <= 255


def test_the_generator_alone_decides() -> None:
    photos, aspects = noise(8), torch.ones(8)
    torch.manual_seed(1)
    first = STRONG(photos, aspects, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(STRONG(photos, aspects, seeded(5)), first)
    assert not torch.equal(STRONG(photos, aspects, seeded(6)), first)


def test_photos_are_left_as_they_were() -> None:
    photos = noise(4)
    before = photos.clone()
    STRONG(photos, torch.ones(4), seeded())
    assert torch.equal(photos, before)


def test_no_strength_leaves_the_photo_or_its_mirror_image() -> None:
    photos = noise(16)
    images = STILL(photos, torch.ones(16), seeded())
    kept = [
        torch.allclose(image, photo.float(), atol=0.1)
        for image, photo in zip(images, photos, strict=True)
    ]
    mirrored = [
        torch.allclose(image, photo.flip(2).float(), atol=0.1)
        for image, photo in zip(images, photos, strict=True)
    ]
    assert all(one != other for one, other in zip(kept, mirrored, strict=True))
    assert 0 < sum(mirrored) < 16


def test_crops_show_nothing_from_outside_the_photo() -> None:
    photos = torch.full((16, 3, 24, 24), 200, dtype=torch.uint8)
    options = replace(STRONG, color_jitter=0.0, erasing=0.0, degrees=45.0)
    images = options(photos, torch.linspace(0.3, 3, 16), seeded())
    assert torch.allclose(images, torch.full_like(images, 200.0), atol=1e-2)


def test_crops_cover_the_share_asked_for() -> None:
    options = replace(STILL, min_crop=0.25)
    images = random_resized_crop(ramp(64, across=True), torch.ones(64), options, seeded())
    covered = spans(images)
    assert float(covered.min()) > 0.45
    assert float(covered.min()) < 0.7
    assert float(covered.max()) > 0.9


def test_crops_have_their_ratio_in_true_proportions() -> None:
    """A square crop of a photo twice as wide as high covers its height but not its width."""
    wide = torch.full((8,), 2.0)
    across = spans(random_resized_crop(ramp(8, across=True), wide, STILL, seeded()))
    down = spans(random_resized_crop(ramp(8, across=False), wide, STILL, seeded()))
    assert across.tolist() == pytest.approx([0.5**0.5] * 8, abs=0.04)
    assert down.tolist() == pytest.approx([1.0] * 8, abs=0.04)


def test_mirroring_never_turns_a_photo_upside_down() -> None:
    images = random_resized_crop(ramp(32, across=False), torch.ones(32), STRONG, seeded())
    rows = images.mean(dim=(1, 3))
    assert bool((rows[:, -1] > rows[:, 0]).all())


def test_colors_are_jittered_for_each_photo_on_its_own() -> None:
    images = torch.full((12, 3, 4, 4), 100.0)
    jittered = jitter_colors(images, 0.3, seeded())
    brightness = jittered.mean(dim=(1, 2, 3))
    assert len(set(brightness.tolist())) == 12
    assert float((brightness - 100).abs().max()) > 5
    # 30% of brightness and 9% of warmth on top.
    assert float((brightness - 100).abs().max()) < 45


def test_no_jitter_changes_no_color() -> None:
    images = noise(4).float()
    assert torch.allclose(jitter_colors(images, 0.0, seeded()), images, atol=1e-3)


def test_erasing_fills_one_box_with_the_mean_color() -> None:
    images = noise(8, side=40).float()
    erased = erase_boxes(images.clone(), 1.0, seeded())
    for before, after in zip(images, erased, strict=True):
        changed = (before != after).any(dim=0)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        height, width = (int(found.max() - found.min()) + 1 for found in (rows, columns))
        assert 6 <= height <= 20
        assert 6 <= width <= 20
        top, left = int(rows.min()), int(columns.min())
        box = after[:, top : top + height, left : left + width]
        assert torch.allclose(box, before.mean(dim=(1, 2))[:, None, None].expand_as(box))


def test_erasing_touches_the_share_asked_for() -> None:
    images = noise(200).float()
    erased = erase_boxes(images.clone(), 0.25, seeded())
    touched = (erased != images).flatten(1).any(dim=1).float().mean()
    assert float(touched) == pytest.approx(0.25, abs=0.1)
    assert torch.equal(erase_boxes(images.clone(), 0.0, seeded()), images)
