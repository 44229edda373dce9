"""Which runs are compared, in which order, and what is said of them."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from landmark_ml.reports.comparison import (
    Comparison,
    compare_runs,
    comparison_table,
    pair_runs,
    readable_table,
    verdict,
)
from landmark_ml.tracking.read_runs import LeftOut
from tests.synthetic_runs import STARTED, make_answers, make_run

GOOD = [True] * 38 + [False] * 2
FAIR = [True] * 18 + [False] * 22
POOR = [True] * 10 + [False] * 30


def compare(*runs_correct: list[bool]) -> Comparison:
    runs = [make_run(f"run-{index}", correct) for index, correct in enumerate(runs_correct)]
    return compare_runs("landmarks", runs)


def test_runs_stand_best_first() -> None:
    assert [run.name for run in compare(FAIR, GOOD, POOR).runs] == ["run-1", "run-0", "run-2"]


def test_equal_top1_is_decided_by_top3() -> None:
    better = make_run("better", GOOD)
    worse = make_run("worse", GOOD, metrics={**better.metrics, "test/top3": 0.97})
    assert [run.name for run in compare_runs("x", [worse, better]).runs] == ["better", "worse"]


def test_runs_judged_on_other_photos_are_left_out_and_named() -> None:
    one, two = make_run("one", FAIR), make_run("two", GOOD)
    other = make_run("other", GOOD, test_digest="d2", started=STARTED + 1)
    damaged = LeftOut("damaged", "id", "unreadable")
    comparison = compare_runs("landmarks", [other, one, two], [damaged])
    assert comparison.test_digest == "d1"
    assert [run.name for run in comparison.runs] == ["two", "one"]
    stranger, unreadable = comparison.left_out
    assert (stranger.name, stranger.run_id) == ("other", other.run_id)
    assert "other test photos" in stranger.reason
    assert "tags.test_digest = 'd2'" in stranger.reason
    assert unreadable is damaged


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_equal_groups_the_newer_is_compared(*, newest_first: bool) -> None:
    runs = [make_run("new", FAIR, test_digest="d2", started=STARTED + 1), make_run("old", GOOD)]
    ordered = runs if newest_first else runs[::-1]
    assert compare_runs("landmarks", ordered).runs[0].name == "new"


def test_the_best_two_are_paired_photo_by_photo() -> None:
    pair = compare(POOR, FAIR, GOOD).pair
    assert pair is not None
    assert (pair.first.name, pair.second.name) == ("run-2", "run-1")
    assert (pair.difference.only_first, pair.difference.only_second) == (20, 0)
    rows = pair.classes.set_index("landmark").to_dict(orient="index")
    assert rows["Atomium"] == {"photos": 20, "only_first": 10, "only_second": 0}


def test_pairing_does_not_depend_on_the_order_of_the_answers() -> None:
    shuffled = make_answers(FAIR).sample(frac=1, random_state=0, ignore_index=True)
    pair = pair_runs(make_run("a", FAIR), make_run("b", FAIR, answers=shuffled))
    assert (pair.difference.only_first, pair.difference.only_second) == (0, 0)


def test_a_photo_that_stands_twice_is_paired_twice() -> None:
    twice = pd.concat([make_answers(FAIR)] * 2, ignore_index=True)
    pair = pair_runs(make_run("a", FAIR, answers=twice), make_run("b", FAIR, answers=twice))
    assert pair.difference.photos == 80


def test_answers_to_other_photos_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different photos \(40 and 39\); evaluate them again"):
        pair_runs(make_run("a", FAIR), make_run("b", FAIR, answers=make_answers(FAIR[1:])))


def test_no_run_is_refused_with_what_was_left_out() -> None:
    with pytest.raises(ValueError, match=r"'landmarks' can be compared: gone .* no file"):
        compare_runs("landmarks", [], [LeftOut("gone", "id", "no file")])


def test_the_table_holds_numbers_and_its_reading_units() -> None:
    table = comparison_table(compare(GOOD, FAIR))
    first = table.iloc[0]
    assert (first["rank"], first["run"], first["recipe"]) == (1, "run-0", "transfer")
    assert first[["train_minutes", "top1", "artifact_mb"]].tolist() == [1.5, 0.95, 13.9]
    shown = readable_table(table).iloc[0].to_dict()
    assert shown == {
        "#": "1",
        "run": "run-0",
        "recipe": "transfer",
        "backbone": "tiny",
        "parameters": "3.4 M",
        "MACs": "384 M",
        "train min": "1.5",
        "top-1": "0.950",
        "95% interval": "0.850 to 1.050",
        "top-3": "1.000",
        "ECE": "0.050",
        "MB": "13.9",
        "ms a photo": "4.0",
    }


def test_what_a_run_did_not_record_is_not_made_up() -> None:
    bare = make_run(
        "bare", GOOD, recipe="", metrics={"test/top1": 0.95}, macs=math.nan, artifact_bytes=math.nan
    )
    shown = readable_table(comparison_table(compare_runs("x", [bare]))).iloc[0]
    unknown = ["recipe", "MACs", "train min", "95% interval", "top-3", "ECE", "MB", "ms a photo"]
    assert set(shown[unknown]) == {"n/a"}
    assert shown["top-1"] == "0.950"


def test_the_verdict_says_how_sure_the_best_is() -> None:
    assert "#1 run-0 beats #2 run-1 by 0.500 top-1 (95% +0." in verdict(compare(GOOD, FAIR))
    close = [*GOOD[:-1], True]
    assert "cannot be told apart on 40 photos" in verdict(compare(close, GOOD))
    alone = compare(GOOD)
    assert alone.pair is None
    assert verdict(alone).endswith("there is nothing to compare it with.")
