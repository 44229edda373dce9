"""Splits are stratified and repeatable, and no picture stands on two sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_ml.data import NOT_A_LANDMARK, Photo, Side
from landmark_ml.data.splits import Fractions, PlacedPhoto, Split, split_photos

FRACTIONS = Fractions(val=0.15, test=0.15)


def photo(number: int, label: int, folder: str = "root") -> Photo:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Photo(Path(folder, f"{number}.jpg"), label, content, 100, 80)


def placed(
    number: int, label: int, group: int | None = None, side: Side | None = None
) -> PlacedPhoto:
    return PlacedPhoto(photo(number, label), number if group is None else group, side)


def sides(split: Split) -> dict[str, tuple[Photo, ...]]:
    return {"train": split.train, "val": split.val, "test": split.test}


def contents(photos: tuple[Photo, ...]) -> list[str]:
    return [item.sha256 for item in photos]


def test_every_class_is_dealt_in_the_given_shares() -> None:
    photos = [placed(i, i // 100) for i in range(300)]
    split = split_photos(photos, FRACTIONS, seed=0)
    for dealt, count in ((split.train, 70), (split.val, 15), (split.test, 15)):
        assert Counter(item.label for item in dealt) == dict.fromkeys(range(3), count)


def test_distractors_give_half_to_test() -> None:
    split = split_photos([placed(i, NOT_A_LANDMARK) for i in range(100)], FRACTIONS, seed=0)
    assert [len(split.train), len(split.val), len(split.test)] == [35, 15, 50]


def test_distractors_are_dealt_even_where_landmarks_have_given_sides() -> None:
    photos = [placed(i, NOT_A_LANDMARK) for i in range(20)]
    photos += [placed(100, 0), placed(101, 0, side="val"), placed(102, 0, side="test")]
    split = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert [len(split.train), len(split.val), len(split.test)] == [8, 4, 11]


def test_order_and_place_of_files_change_nothing() -> None:
    photos = [placed(i, i % 4, group=i // 3) for i in range(80)]
    moved = [
        PlacedPhoto(photo(i, i % 4, folder="elsewhere"), 1000 - i // 3, None)
        for i in reversed(range(80))
    ]
    first, second = (sides(split_photos(some, FRACTIONS, seed=3)) for some in (photos, moved))
    assert {side: contents(dealt) for side, dealt in first.items()} == {
        side: contents(dealt) for side, dealt in second.items()
    }


def test_another_seed_deals_otherwise() -> None:
    photos = [placed(i, 0) for i in range(50)]
    tests = {tuple(contents(split_photos(photos, FRACTIONS, seed).test)) for seed in range(5)}
    assert len(tests) == 5


def test_a_photo_more_leaves_most_photos_where_they_were() -> None:
    photos = [placed(i, 0) for i in range(101)]
    before, after = (split_photos(some, FRACTIONS, seed=0) for some in (photos[:100], photos))
    assert len(set(contents(before.test)) & set(contents(after.test))) >= 13


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 12), st.sampled_from([None, "val", "test"])),
        max_size=60,
    ),
    st.integers(0, 3),
)
def test_groups_stay_whole_and_no_photo_is_lost(
    rows: list[tuple[int, int, Side | None]], seed: int
) -> None:
    photos = [placed(i, label, group, side) for i, (label, group, side) in enumerate(rows)]
    split = split_photos(photos, FRACTIONS, seed)
    group_of = {item.photo.sha256: item.group for item in photos}
    on_side = [{group_of[item.sha256] for item in dealt} for dealt in sides(split).values()]
    assert sum(map(len, on_side)) == len(set.union(*on_side))
    kept = [*split.train, *split.val, *split.test, *split.leaked, *split.conflicting]
    assert Counter(kept) == Counter(item.photo for item in photos)
    given_test = [item.photo for item in photos if item.side == "test"]
    assert set(given_test) <= set(split.test)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 9))
def test_small_classes_keep_train_then_val_then_test(sizes: list[int], seed: int) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    photos = [placed(i, 0, group) for i, group in enumerate(groups)]
    split = split_photos(photos, FRACTIONS, seed)
    assert split.train
    assert bool(split.val) == (len(sizes) >= 2)
    assert bool(split.test) == (len(sizes) >= 3)


def test_copies_of_given_test_and_val_photos_leave_the_sides_before() -> None:
    photos = [
        placed(0, 0, group=1, side="test"),
        placed(1, 0, group=1, side="val"),
        placed(2, 0, group=1),
        placed(3, 0, group=2, side="val"),
        placed(4, 0, group=2),
        placed(5, 0, group=3),
    ]
    split = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert set(split.leaked) == {photo(1, 0), photo(2, 0), photo(4, 0)}
    assert (split.train, split.val, split.test) == ((photo(5, 0),), (photo(3, 0),), (photo(0, 0),))


def test_one_file_under_two_labels_is_kept_out_of_train() -> None:
    twice = [PlacedPhoto(photo(0, label), 0, None) for label in (0, 1)]
    split = split_photos([*twice, *(placed(i, i % 2) for i in range(1, 11))], FRACTIONS, seed=0)
    assert set(split.conflicting) == {photo(0, 0), photo(0, 1)}
    assert len(split.train) + len(split.val) + len(split.test) == 10


def test_a_given_test_photo_stays_whatever_train_calls_it() -> None:
    photos = [PlacedPhoto(photo(0, 0), 0, "test"), PlacedPhoto(photo(0, 1), 0, None)]
    split = split_photos([*photos, placed(1, 0), placed(2, 1)], FRACTIONS, seed=0)
    assert photo(0, 0) in split.test
    assert split.conflicting == (photo(0, 1),)


@pytest.mark.parametrize("labels", [(0, 0, -1), (0, -1, -1)])
def test_a_group_that_shows_a_landmark_is_dealt_as_one(labels: tuple[int, ...]) -> None:
    """Photos of none go to the test side by halves, where a given one has all its landmarks."""
    assert NOT_A_LANDMARK == -1
    photos = [placed(number, labels[number % 3], group=number // 3) for number in range(12)]
    split = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert len(split.train) == 12
