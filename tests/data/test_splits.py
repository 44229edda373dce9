"""A photo keeps its split; every class has its share; no picture or visit is in two splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_ml.data import NOT_A_LANDMARK, Photo, Split
from landmark_ml.data.near_duplicates import GroupedPhoto
from landmark_ml.data.splits import Assignment, Fractions, split_photos

FRACTIONS = Fractions(val=0.15, test=0.15)


def photo(
    number: int, label: int, folder: str = "root", visit: str = "", width: int = 100
) -> Photo:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Photo(Path(folder, f"{number}.jpg"), label, content, width, 80, visit=visit)


def placed(
    number: int,
    label: int,
    group: int | None = None,
    given: Split | None = None,
    visit: str = "",
    width: int = 100,
) -> GroupedPhoto:
    one = photo(number, label, visit=visit, width=width)
    return GroupedPhoto(one, number if group is None else group, given)


def splits(assigned: Assignment) -> dict[str, tuple[Photo, ...]]:
    return {"train": assigned.train, "val": assigned.val, "test": assigned.test}


def contents(photos: tuple[Photo, ...]) -> list[str]:
    return [item.sha256 for item in photos]


def moves(before: Sequence[GroupedPhoto], after: Sequence[GroupedPhoto], seed: int) -> Counter[str]:
    """How many photos of both go from one split to another, by `from > to`."""
    first, second = (
        {item.sha256: name for name, some in splits(found).items() for item in some}
        for found in (split_photos(before, FRACTIONS, seed), split_photos(after, FRACTIONS, seed))
    )
    return Counter(
        f"{split} > {second[content]}"
        for content, split in first.items()
        if second.get(content, split) != split
    )


def test_every_class_gets_about_its_shares() -> None:
    found = split_photos([placed(i, i // 400) for i in range(1200)], FRACTIONS, seed=0)
    for assigned, share in ((found.train, 280), (found.val, 60), (found.test, 60)):
        counts = Counter(item.label for item in assigned)
        # Three standard deviations of 400 draws.
        assert all(abs(counts[label] - share) <= 27 for label in range(3))


def test_distractors_give_about_half_to_test() -> None:
    found = split_photos([placed(i, NOT_A_LANDMARK) for i in range(400)], FRACTIONS, seed=0)
    for assigned, share in ((found.train, 140), (found.val, 60), (found.test, 200)):
        assert abs(len(assigned) - share) <= 30


def test_distractors_are_assigned_even_where_landmarks_have_given_splits() -> None:
    photos = [placed(i, NOT_A_LANDMARK) for i in range(20)]
    photos += [placed(100, 0), placed(101, 0, given="val"), placed(102, 0, given="test")]
    found = split_photos(photos, Fractions(val=0, test=0), seed=0)
    for assigned in splits(found).values():
        assert Counter(item.label for item in assigned)[0] == 1
        assert Counter(item.label for item in assigned)[NOT_A_LANDMARK] >= 2


LIBRARY = [placed(i, i % 20) for i in range(20 * 75)]
NEW = 10_000
CHANGES = {
    "2% more": [*LIBRARY, *(placed(NEW + i, i % 20) for i in range(30))],
    "10% more": [*LIBRARY, *(placed(NEW + i, i % 20) for i in range(150))],
    "five landmarks more": [*LIBRARY, *(placed(NEW + i, 20 + i % 5) for i in range(375))],
    "10% less": [item for item in LIBRARY if item.group % 10],
    "smaller copies": [
        *LIBRARY,
        *(placed(NEW + i, i % 20, group=i, width=60) for i in range(150)),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_library_that_changes_leaves_every_photo_in_its_split(change: str) -> None:
    for seed in range(5):
        assert moves(LIBRARY, CHANGES[change], seed) == {}


def test_a_small_class_gives_back_to_train_only_what_filled_an_empty_split() -> None:
    small = [placed(i, i % 50) for i in range(50 * 8)]
    found = Counter[str]()
    for seed in range(5):
        found += moves(small, [*small, *(placed(NEW + i, i % 50) for i in range(100))], seed)
    assert set(found) == {"test > train", "val > train"}


def test_a_visit_that_grows_takes_new_photos_along() -> None:
    visits = [placed(i, i % 4, visit=f"day {i // 20}") for i in range(1200)]
    # More photos of the same days, and a copy of one photo of each that lost its EXIF.
    more = [placed(NEW + i, i % 4, visit=f"day {i // 8}") for i in range(480)]
    more += [placed(2 * NEW + i, i % 4, group=i, width=60) for i in range(0, 1200, 20)]
    for seed in range(5):
        assert moves(visits, [*visits, *more], seed) == {}
        found = splits(split_photos([*visits, *more], FRACTIONS, seed))
        where = {name: {item.visit for item in some} - {""} for name, some in found.items()}
        assert sum(map(len, where.values())) == 60
        assert all(where.values())


def test_a_visit_to_many_landmarks_fills_no_split_alone() -> None:
    """Every class has groups of its own, so each gets a photo in every split."""
    photos = [placed(i, i % 10, visit=f"day {i // 20}") for i in range(60)]
    for seed in range(5):
        for assigned in splits(split_photos(photos, FRACTIONS, seed)).values():
            assert {item.label for item in assigned} == set(range(10))


def test_most_of_a_class_stays_in_train() -> None:
    photos = [placed(i, 0, visit="one long day") for i in range(40)]
    photos += [placed(100 + i, 0) for i in range(4)]
    for seed in range(10):
        found = split_photos(photos, FRACTIONS, seed)
        assert len(found.train) >= 40
        assert found.val
        assert found.test


def test_photos_of_the_visit_of_a_given_test_photo_stay_in_train() -> None:
    """Who gives a test folder has decided; the same picture alone is left out of train."""
    photos = [placed(0, 0, given="test", visit="day"), placed(1, 0, visit="day"), placed(2, 0)]
    found = split_photos([*photos, placed(3, 0, group=0)], Fractions(val=0, test=0), seed=0)
    assert contents(found.train) == sorted(contents((photo(1, 0), photo(2, 0))))
    assert contents(found.leaked) == [photo(3, 0).sha256]


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


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-1, 3),
            st.integers(0, 12),
            st.sampled_from([None, "val", "test"]),
            st.sampled_from(["", "monday", "tuesday"]),
        ),
        max_size=60,
    ),
    st.integers(0, 3),
)
def test_groups_and_visits_stay_whole_and_no_photo_is_lost(
    rows: list[tuple[int, int, Split | None, str]], seed: int
) -> None:
    photos = [placed(i, *row) for i, row in enumerate(rows)]
    found = split_photos(photos, FRACTIONS, seed)
    group_of = {item.photo.sha256: item.group for item in photos}
    in_split = [{group_of[item.sha256] for item in assigned} for assigned in splits(found).values()]
    assert sum(map(len, in_split)) == len(set.union(*in_split))
    visits = {
        (item.photo.label, item.photo.visit, name)
        for item in photos
        for name, assigned in splits(found).items()
        if item.photo.visit and not item.given and item.photo in assigned
    }
    assert len({visit[:2] for visit in visits}) == len(visits)
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
