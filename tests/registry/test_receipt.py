"""A receipt says what was judged, how, and with what outcome: as JSON, a page and Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from landmark_ml.config import PromoteConfig
from landmark_ml.evaluation.metrics import METRICS
from landmark_ml.registry.gates import GateResult, check_gates
from landmark_ml.registry.promote import Receipt, Verdict, to_html, to_json, to_markdown
from tests.registry.judged_versions import answers, judged, unloadable

if TYPE_CHECKING:
    from landmark_ml.registry.candidates import Judged

INSTALLABLE = GateResult("requirements", "passed", "1 | 1 package", "all")


def receipt(*challengers: Judged, champion: Judged | None, winner: int) -> Receipt:
    verdicts = [
        Verdict(
            challenger,
            tuple(
                check_gates(
                    challenger,
                    champion,
                    PromoteConfig(),
                    challengers=len(challengers),
                    installable=INSTALLABLE,
                )
            ),
        )
        for challenger in challengers
    ]
    return Receipt(
        name="landmarks",
        at="2026-01-02T03:04:05Z",
        run_id="abc",
        data="photos <b>",
        test_digest="d1",
        photos=200,
        distractors=7,
        champion=champion,
        verdicts=tuple(verdicts),
        winner=winner,
        limits=asdict(PromoteConfig()),
    )


CHAMPION = judged(1, answers(160, 200))
BETTER, WORSE = judged(2, answers(190, 200)), judged(3, answers(100, 200))


@pytest.fixture(scope="module")
def accepted() -> Receipt:
    return receipt(BETTER, WORSE, champion=CHAMPION, winner=2)


@pytest.fixture(scope="module")
def refused() -> Receipt:
    return receipt(WORSE, champion=CHAMPION, winner=0)


def test_the_conclusion_is_one_sentence(accepted: Receipt, refused: Receipt) -> None:
    assert accepted.conclusion == "Version 2 passed every gate against champion version 1."
    assert refused.conclusion == (
        "Refused: version 3 did not pass every gate against champion version 1."
    )
    first = receipt(BETTER, champion=None, winner=2)
    assert first.conclusion == "Version 2 passed every gate against no champion."


def test_a_verdict_names_the_gates_that_stopped_it(accepted: Receipt, refused: Receipt) -> None:
    assert (accepted.verdict(2).passed, accepted.verdict(2).stopped_by) == (True, "")
    verdict = refused.verdict(3)
    assert not verdict.passed
    assert verdict.stopped_by.startswith("better top-1 failed: -0.3000")


def test_the_json_holds_every_number(accepted: Receipt) -> None:
    content = json.loads(to_json(accepted))
    assert (content["winner"], content["photos"], content["test_digest"]) == (2, 200, "d1")
    better, worse = content["challengers"]
    assert (better["version"], better["passed"], worse["passed"]) == (2, True, False)
    assert better["metrics"]["top1"] == pytest.approx(0.95)
    assert {gate["outcome"] for gate in worse["gates"]} == {"passed", "failed"}
    assert {row["landmark"] for row in worse["landmarks"]} == {"Atomium", "Petra"}
    assert content["limits"]["alpha"] == 0.05


def test_the_page_shows_gates_metrics_and_figures_and_fetches_nothing(refused: Receipt) -> None:
    page = to_html(refused)
    assert "Promotion of “landmarks”: refused" in page
    assert page.count("data:image/png;base64,") == 4
    assert "✗ failed" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "photos &lt;b&gt;" in page


def test_the_page_shows_metrics_in_the_words_of_the_metric_table(refused: Receipt) -> None:
    page = to_html(refused)
    for name in ("top1", "ece", "ms_per_photo"):
        assert f">{METRICS[name].caption}</th>" in page
    assert "0.500 (0.431 to 0.569)" in page


def test_the_page_of_a_model_that_could_not_be_judged_says_why() -> None:
    page = to_html(receipt(unloadable(2), champion=None, winner=0))
    assert "refused" in page
    assert "it needs pickle" in page


def test_markdown_has_a_row_for_each_gate(accepted: Receipt) -> None:
    verdict = accepted.verdict(2)
    text = to_markdown(accepted, verdict)
    assert text.startswith("### Promotion: passed every gate\n")
    assert "run `abc`" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(verdict.gates)
    assert "1 \\| 1 package" in text
