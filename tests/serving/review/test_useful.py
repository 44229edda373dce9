"""Which answers are worth a correction: uncertain ones, unlike one another."""

from __future__ import annotations

from serving.review import most_useful

SURE = [("Eiffel Tower", 0.98), ("Big Ben", 0.01)]
TORN = [("Eiffel Tower", 0.5), ("Big Ben", 0.49)]
BARELY = [("Eiffel Tower", 0.6), ("Big Ben", 0.38)]
ELSEWHERE = [("Taj Mahal", 0.55), ("Colosseum", 0.4)]
EVERYDAY = [("Taj Mahal", 0.02), ("Colosseum", 0.01)]
PERHAPS_EVERYDAY = [("Colosseum", 0.5), ("Taj Mahal", 0.02)]


def test_the_answer_that_may_as_well_be_another_comes_first() -> None:
    assert most_useful([SURE, BARELY, EVERYDAY, TORN], 1) == [3]


def test_photos_that_are_surely_of_no_landmark_come_last() -> None:
    assert most_useful([EVERYDAY, ELSEWHERE, PERHAPS_EVERYDAY], 2) == [2, 1]


def test_of_a_burst_one_photo_is_asked_about_before_others_of_another_kind() -> None:
    assert most_useful([TORN, TORN, TORN, ELSEWHERE, PERHAPS_EVERYDAY], 3) == [0, 4, 3]


def test_every_photo_once_and_no_more_than_asked_for() -> None:
    answers = [TORN, SURE, TORN, EVERYDAY, [], TORN]
    assert sorted(most_useful(answers, 100)) == list(range(6))
    assert len(most_useful(answers, 4)) == 4
    assert most_useful([], 3) == []
