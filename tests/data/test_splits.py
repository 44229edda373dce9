"""Splits are stratified and repeatable, and no picture is in two splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_ml.data import NOT_A_LANDMARK, Photo, Split
from landmark_ml.data.near_duplicates import GroupedPhoto
from landmark_ml.data.splits import Assignment, Fractions, split_photos

FRACTIONS = Fractions(val=0.15, test=0.15)


def photo(number: int, label: int, folder: str = "root") -> Photo:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Photo(Path(folder, f"{number}.jpg"), label, content, 100, 80)


def placed(
    number: int, label: int, group: int | None = None, given: Split | None = None
) -> GroupedPhoto:
    return GroupedPhoto(photo(number, label), number if group is None else group, given)


def splits(assigned: Assignment) -> dict[str, tuple[Photo, ...]]:
    return {"train": assigned.train, "val": assigned.val, "test": assigned.test}


def contents(photos: tuple[Photo, ...]) -> list[str]:
    return [item.sha256 for item in photos]


def test_every_class_is_assigned_in_the_given_shares() -> None:
    photos = [placed(i, i // 100) for i in range(300)]
    found = split_photos(photos, FRACTIONS, seed=0)
    for assigned, count in ((found.train, 70), (found.val, 15), (found.test, 15)):
        assert Counter(item.label for item in assigned) == dict.fromkeys(range(3), count)


def test_distractors_give_half_to_test() -> None:
    found = split_photos([placed(i, NOT_A_LANDMARK) for i in range(100)], FRACTIONS, seed=0)
    assert [len(found.train), len(found.val), len(found.test)] == [35, 15, 50]


def test_distractors_are_assigned_even_where_landmarks_have_given_splits() -> None:
    photos = [placed(i, NOT_A_LANDMARK) for i in range(20)]
    photos += [placed(100, 0), placed(101, 0, given="val"), placed(102, 0, given="test")]
    found = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert [len(found.train), len(found.val), len(found.test)] == [8, 4, 11]


def test_order_and_place_of_files_change_nothing() -> None:
    photos = [placed(i, i % 4, group=i // 3) for i in range(80)]
    moved = [
        GroupedPhoto(photo(i, i % 4, folder="elsewhere"), 1000 - i // 3, None)
        for i in reversed(range(80))
    ]
    first, second = (splits(split_photos(some, FRACTIONS, seed=3)) for some in (photos, moved))
    assert {name: contents(assigned) for name, assigned in first.items()} == {
        name: contents(assigned) for name, assigned in second.items()
    }


def test_another_seed_assigns_differently() -> None:
    photos = [placed(i, 0) for i in range(50)]
    tests = {tuple(contents(split_photos(photos, FRACTIONS, seed).test)) for seed in range(5)}
    assert len(tests) == 5


def test_a_new_photo_leaves_most_photos_in_their_split() -> None:
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
    rows: list[tuple[int, int, Split | None]], seed: int
) -> None:
    photos = [placed(i, label, group, given) for i, (label, group, given) in enumerate(rows)]
    found = split_photos(photos, FRACTIONS, seed)
    group_of = {item.photo.sha256: item.group for item in photos}
    in_split = [{group_of[item.sha256] for item in assigned} for assigned in splits(found).values()]
    assert sum(map(len, in_split)) == len(set.union(*in_split))
    kept = [*found.train, *found.val, *found.test, *found.leaked, *found.conflicting]
    assert Counter(kept) == Counter(item.photo for item in photos)
    given_test = [item.photo for item in photos if item.given == "test"]
    assert set(given_test) <= set(found.test)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 9))
def test_small_classes_keep_train_then_val_then_test(sizes: list[int], seed: int) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    photos = [placed(i, 0, group) for i, group in enumerate(groups)]
    found = split_photos(photos, FRACTIONS, seed)
    assert found.train
    assert bool(found.val) == (len(sizes) >= 2)
    assert bool(found.test) == (len(sizes) >= 3)


def test_copies_of_given_test_and_val_photos_leave_the_earlier_splits() -> None:
    photos = [
        placed(0, 0, group=1, given="test"),
        placed(1, 0, group=1, given="val"),
        placed(2, 0, group=1),
        placed(3, 0, group=2, given="val"),
        placed(4, 0, group=2),
        placed(5, 0, group=3),
    ]
    found = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert set(found.leaked) == {photo(1, 0), photo(2, 0), photo(4, 0)}
    assert (found.train, found.val, found.test) == ((photo(5, 0),), (photo(3, 0),), (photo(0, 0),))


def test_one_file_under_two_labels_is_kept_out_of_train() -> None:
    twice = [GroupedPhoto(photo(0, label), 0, None) for label in (0, 1)]
    found = split_photos([*twice, *(placed(i, i % 2) for i in range(1, 11))], FRACTIONS, seed=0)
    assert set(found.conflicting) == {photo(0, 0), photo(0, 1)}
    assert len(found.train) + len(found.val) + len(found.test) == 10


def test_a_given_test_photo_stays_whatever_train_calls_it() -> None:
    photos = [GroupedPhoto(photo(0, 0), 0, "test"), GroupedPhoto(photo(0, 1), 0, None)]
    found = split_photos([*photos, placed(1, 0), placed(2, 1)], FRACTIONS, seed=0)
    assert photo(0, 0) in found.test
    assert found.conflicting == (photo(0, 1),)


@pytest.mark.parametrize("labels", [(0, 0, -1), (0, -1, -1)])
def test_a_group_that_shows_a_landmark_is_assigned_as_one(labels: tuple[int, ...]) -> None:
    """Else half of it would go to test as distractors, beside a given test folder."""
    assert NOT_A_LANDMARK == -1
    photos = [placed(number, labels[number % 3], group=number // 3) for number in range(12)]
    found = split_photos(photos, Fractions(val=0, test=0), seed=0)
    assert len(found.train) == 12
