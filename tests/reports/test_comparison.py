"""Which runs are compared, the verdict on them, and the page and run that hold it."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from experiments import compare as entry_point
from landmark_ml.config import CompareConfig
from landmark_ml.reports import comparison as of_runs
from landmark_ml.reports.comparison import (
    Comparison,
    ComparisonResult,
    compare_runs,
    comparison_table,
    pair_runs,
    readable_table,
    render_report,
    run_comparison,
    verdict,
)
from landmark_ml.tracking.read_runs import LeftOut
from tests.synthetic_runs import STARTED, log_run, make_answers, make_run

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
    assert pair.difference.value == pytest.approx(0.5)
    rows = pair.classes.set_index("landmark").to_dict(orient="index")
    assert rows["Atomium"] == {"photos": 20, "only_first": 10, "only_second": 0}


def test_pairing_does_not_depend_on_the_order_of_the_answers() -> None:
    shuffled = make_answers(FAIR).sample(frac=1, random_state=0, ignore_index=True)
    pair = pair_runs(make_run("a", FAIR), make_run("b", FAIR, answers=shuffled))
    assert pair.classes[["only_first", "only_second"]].to_numpy().sum() == 0


def test_a_photo_that_stands_twice_is_paired_twice() -> None:
    twice = pd.concat([make_answers(FAIR)] * 2, ignore_index=True)
    pair = pair_runs(make_run("a", FAIR, answers=twice), make_run("b", FAIR, answers=twice))
    assert pair.classes["photos"].sum() == 80


def test_no_run_is_refused_with_what_was_left_out() -> None:
    with pytest.raises(ValueError, match=r"'landmarks' can be compared: gone .* no file"):
        compare_runs("landmarks", [], [LeftOut("gone", "id", "no file")])


def test_the_table_holds_numbers_and_its_reading_units() -> None:
    table = comparison_table(compare(GOOD, FAIR))
    first = table.iloc[0]
    assert (first["rank"], first["run"], first["recipe"]) == (1, "run-0", "transfer")
    assert first[["train_minutes", "top1", "artifact_mb"]].tolist() == [1.5, 0.95, 13.9]
    shown = readable_table(table).iloc[0].to_dict()
    expected = {
        "#": "1",
        "run": "run-0",
        "recipe": "transfer",
        "backbone": "tiny",
        "parameters": "3.4 M",
        "MACs": "384 M",
        "train min": "1.5",
        "top-1": "0.950",
        "95% interval": "0.835 to 0.986",
        "top-3": "1.000",
        "ECE": "0.050",
        "latency": "4.0 ms",
        "MB": "13.9",
    }
    assert {column: shown[column] for column in expected} == expected


def test_the_page_has_no_table_of_landmarks_where_the_best_two_agree() -> None:
    heading = "landmark by landmark</h2>"
    assert heading in render_report(compare(GOOD, FAIR))
    assert heading not in render_report(compare(GOOD, GOOD))


def test_what_a_run_did_not_record_is_not_made_up() -> None:
    bare = make_run(
        "bare", GOOD, recipe="", metrics={"test/top1": 0.95}, macs=math.nan, artifact_bytes=math.nan
    )
    shown = readable_table(comparison_table(compare_runs("x", [bare]))).iloc[0]
    unknown = ["recipe", "MACs", "train min", "top-3", "ECE", "MB", "latency"]
    assert set(shown[unknown]) == {"n/a"}
    assert shown["top-1"] == "0.950"


def test_the_verdict_says_how_sure_the_best_is() -> None:
    assert "#1 run-0 beats #2 run-1 by 0.500 top-1 (95% +0." in verdict(compare(GOOD, FAIR))
    close = [*GOOD[:-1], True]
    assert "cannot be told apart on 40 photos" in verdict(compare(close, GOOD))
    alone = compare(GOOD)
    assert alone.pair is None
    assert verdict(alone).endswith("there is nothing to compare it with.")


HOSTILE = '<script>alert("x")</script> $5 & {{ 7 }}'
CELLS = {"th", "td"}
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags with attributes, headings and all text of a page; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " * (tag in CELLS)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@pytest.fixture(scope="module")
def page() -> Page:
    runs = [
        make_run("good", GOOD, params={"epochs": "30", "seed": "0"}, experiment_id="7"),
        make_run(HOSTILE, FAIR, params={"epochs": "9", "seed": "0"}),
    ]
    left_out = [LeftOut("strange <i>", "id7", "judged on other test photos")]
    made = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return Page(render_report(compare_runs("landmarks", runs, left_out), made))


def test_the_page_fetches_nothing(page: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [value for _, attributes in page.tags for value in (attributes.get("src"),) if value]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert "http" not in page.text
    policies = [attributes.get("content") or "" for tag, attributes in page.tags if tag == "meta"]
    assert any("default-src 'none'" in policy for policy in policies)


def test_a_run_links_to_its_page_in_mlflow(page: Page) -> None:
    first, _ = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    run_id = make_run("good", GOOD).run_id
    assert first.endswith(f"#/experiments/7/runs/{run_id}?workflowType=machine_learning")


def test_only_parameters_that_differ_are_shown(page: Page) -> None:
    said = " ".join(page.text.split())
    assert "Parameters that differ #1 #2 epochs 30 9 " in said
    assert "seed" not in said


def test_names_are_text_not_markup(page: Page) -> None:
    assert HOSTILE in page.text
    assert "strange <i>" in page.text


def test_the_page_says_what_was_compared_and_what_was_not(page: Page) -> None:
    said = " ".join(page.text.split())
    assert "Comparison of 2 runs in “landmarks”" in said
    assert "same 40 test photos of landmarks (test_digest d1). Made 2026-01-02 03:04 UTC" in said
    assert "#1 good beats #2" in said
    assert "0.950 0.835 to 0.986" in said
    assert "(id7): judged on other test photos" in said
    assert "Photos that only #1 recognises, only #2 20, 0" in said
    assert "p = 1.9e-06" in said


def test_the_page_shows_which_landmarks_only_one_recognises(page: Page) -> None:
    said = " ".join(page.text.split())
    assert "landmark photos only #1 only #2 Atomium 20 10 0 Petra 20 10 0" in said


def test_both_colour_schemes_are_styled(page: Page) -> None:
    assert "prefers-color-scheme: dark" in page.text


EXPERIMENT = "compared"
CONFIG = CompareConfig(experiment=EXPERIMENT)


@pytest.fixture(scope="module")
def result(tracking_uri: str) -> ComparisonResult:
    log_run(EXPERIMENT, make_run("good", GOOD))
    log_run(EXPERIMENT, make_run("fair", FAIR))
    log_run(EXPERIMENT, make_run("other", GOOD, test_digest="d2"))
    return run_comparison(CONFIG)


def read_csv(result: ComparisonResult, name: str) -> pd.DataFrame:
    text = mlflow.artifacts.load_text(f"runs:/{result.run_id}/{name}.csv")
    return pd.read_csv(io.StringIO(text))


def test_the_table_is_logged(result: ComparisonResult) -> None:
    table = read_csv(result, "comparison")
    assert table["run"].tolist() == ["good", "fair"]
    assert table["top1"].tolist() == [0.95, 0.45]
    landmarks = read_csv(result, "landmarks_of_the_best_two")
    assert landmarks["only_first"].tolist() == [10, 10]


def test_the_report_lies_where_the_result_says(result: ComparisonResult) -> None:
    html = Path(result.report).read_text(encoding="utf-8")
    assert "#1 good beats #2 fair" in html
    assert "tags.test_digest = &#39;d2&#39;" in html


def test_the_run_says_what_it_is(result: ComparisonResult) -> None:
    run = mlflow.get_run(result.run_id)
    assert (run.info.run_name, run.info.status) == (f"compare-{EXPERIMENT}", "FINISHED")
    assert (run.data.tags["kind"], run.data.tags["test_digest"]) == ("compare", "d1")
    assert run.data.metrics["compare/difference"] == pytest.approx(0.5)
    assert run.data.metrics["compare/mcnemar_p"] < 1e-5
    assert run.data.params == {"experiment": EXPERIMENT, "json": "False", "most": "20"}


def test_a_comparison_is_not_compared(
    result: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    monkeypatch.setattr(of_runs, "render_report", lambda _: "")
    again, thrice = run_comparison(CONFIG), run_comparison(CONFIG)
    assert mlflow.get_run(again.run_id).info.experiment_id != "0"
    assert [run.name for run in thrice.comparison.runs] == ["good", "fair"]
    assert [run.name for run in thrice.comparison.left_out] == ["other"]


def test_the_terminal_shows_table_verdict_and_what_was_left_out(
    result: ComparisonResult, capsys: pytest.CaptureFixture[str]
) -> None:
    entry_point.print_comparison(result)
    printed = capsys.readouterr().out
    assert "0.835 to 0.986" in printed
    assert "#1 good beats #2 fair" in printed
    assert "left out: other" in printed
    assert f"report  {result.report}" in printed


def test_runs_that_were_not_read_are_mentioned_wherever_the_outcome_is_shown(
    result: ComparisonResult, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = run_comparison(CompareConfig(experiment=EXPERIMENT, most=1))
    said = "There are more evaluated runs; only the newest 1 were read: raise most"
    entry_point.print_comparison(narrow)
    assert said in capsys.readouterr().out
    html = Path(narrow.report).read_text(encoding="utf-8")
    assert said in html
    # It stands alone, without a pair.
    page = Page(html)
    assert "there is nothing to compare it with" in page.text
    assert "The best two" not in page.text
    assert "Left out" not in page.headings
    assert said in mlflow.get_run(narrow.run_id).data.tags["mlflow.note.content"]
    entry_point.print_comparison(result)
    assert "more evaluated runs" not in capsys.readouterr().out


def test_the_entry_point_prints_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: ComparisonResult
) -> None:
    asked: list[CompareConfig] = []

    def answer(config: CompareConfig) -> ComparisonResult:
        asked.append(config)
        return result

    monkeypatch.setattr(entry_point, "run_comparison", answer)
    config = CompareConfig(experiment="photos", most=3)
    entry_point.main(config)
    assert asked == [config]
    assert "report" in capsys.readouterr().out
    entry_point.main(CompareConfig(json=True))
    printed = json.loads(capsys.readouterr().out)
    assert [run["rank"] for run in printed["runs"]] == [*range(1, len(printed["runs"]) + 1)]
    assert printed["report"] == result.report


@pytest.mark.usefixtures("tracking_uri")
def test_a_comparison_of_nothing_leaves_no_run() -> None:
    before = mlflow.search_runs(search_all_experiments=True, output_format="list")
    with pytest.raises(ValueError, match="no experiment 'nowhere'"):
        run_comparison(CompareConfig(experiment="nowhere"))
    after = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert [run.info.run_id for run in after] == [run.info.run_id for run in before]


def test_comparing_less_than_one_run_is_refused() -> None:
    with pytest.raises(ValueError, match="most is 0; give a number above 0"):
        CompareConfig(most=0)
