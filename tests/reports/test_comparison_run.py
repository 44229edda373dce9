"""A comparison leaves its table and report in MLflow, and the terminal says the same."""

from __future__ import annotations

import io
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from experiments import compare
from landmark_ml.config import CompareConfig
from landmark_ml.reports.comparison_run import ComparisonResult, run_comparison
from tests.synthetic_runs import log_run, make_run

GOOD = [True] * 38 + [False] * 2
FAIR = [True] * 18 + [False] * 22
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
    assert (run.info.run_name, run.info.status) == ("compare", "FINISHED")
    assert (run.data.tags["kind"], run.data.tags["test_digest"]) == ("compare", "d1")
    assert run.data.metrics["compare/difference"] == pytest.approx(0.5)
    assert run.data.metrics["compare/mcnemar_p"] < 1e-5
    assert run.data.params == {
        "experiment": EXPERIMENT,
        "filter": "",
        "most": "20",
        "order": "newest",
        "seed": "0",
    }


def test_a_comparison_is_not_compared(
    result: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    again, thrice = run_comparison(CONFIG), run_comparison(CONFIG)
    assert mlflow.get_run(again.run_id).info.experiment_id != "0"
    assert [run.name for run in thrice.comparison.runs] == ["good", "fair"]
    assert [run.name for run in thrice.comparison.left_out] == ["other"]


def test_the_terminal_shows_table_verdict_and_what_was_left_out(
    result: ComparisonResult, capsys: pytest.CaptureFixture[str]
) -> None:
    compare.print_comparison(result)
    printed = capsys.readouterr().out
    assert "0.850 to 1.050" in printed
    assert "#1 good beats #2 fair" in printed
    assert "left out: other" in printed
    assert f"report  {result.report}" in printed


def test_runs_that_nobody_looked_at_are_spoken_of_wherever_the_outcome_stands(
    result: ComparisonResult, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = run_comparison(CompareConfig(experiment=EXPERIMENT, most=1, order="best"))
    said = "There are more evaluated runs; only the best 1 were read: raise most"
    compare.print_comparison(narrow)
    assert said in capsys.readouterr().out
    assert said in Path(narrow.report).read_text(encoding="utf-8")
    assert said in mlflow.get_run(narrow.run_id).data.tags["mlflow.note.content"]
    compare.print_comparison(result)
    assert "more evaluated runs" not in capsys.readouterr().out


def test_the_entry_point_compares_what_its_flags_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: ComparisonResult
) -> None:
    asked: list[CompareConfig] = []

    def answer(config: CompareConfig) -> ComparisonResult:
        asked.append(config)
        return result

    monkeypatch.setattr(compare, "run_comparison", answer)
    monkeypatch.setattr("sys.argv", ["compare", "--experiment=photos", "--most=3"])
    compare.main()
    assert asked == [CompareConfig(experiment="photos", most=3)]
    assert "report" in capsys.readouterr().out


def test_a_comparison_that_fails_ends_as_failed(tracking_uri: str) -> None:
    with pytest.raises(ValueError, match="no experiment 'nowhere'"):
        run_comparison(CompareConfig(experiment="nowhere"))
    failed = mlflow.search_runs(
        experiment_names=["landmarks"], filter_string="tags.kind = 'compare'", output_format="list"
    )[0]
    assert failed.info.status == "FAILED"
    assert "no experiment 'nowhere'" in failed.data.tags["error"]


def test_comparing_less_than_one_run_is_refused() -> None:
    with pytest.raises(ValueError, match="most is 0; give a number above 0"):
        CompareConfig(most=0)
