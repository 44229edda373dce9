"""A promotion from end to end, with made-up answers, its receipt, and the rollback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from experiments import history, promote, rollback
from landmark_ml.config import HistoryConfig, PromoteConfig, RollbackConfig
from landmark_ml.data import Dataset
from landmark_ml.evaluation.metrics import METRICS
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.registry import promote as promoting
from landmark_ml.registry.candidates import Judged, find_candidates
from landmark_ml.registry.comparison import Spending
from landmark_ml.registry.gates import GateResult
from landmark_ml.registry.history import AliasHistory, ConflictError, roll_back, tell_history
from landmark_ml.registry.promote import (
    Receipt,
    explain,
    run_promotion,
    to_html,
    to_json,
    to_markdown,
)
from tests.mlflow_out import fail
from tests.registry.judged_versions import (
    CLASSES,
    answers,
    judged,
    none,
    predictions,
    together,
    unloadable,
    verdict,
)
from tests.registry.registered_models import Killed, aliases, crown, make_versions

COUNT = 200
RIGHT = {1: 160, 2: 190, 3: 150, 4: 196}
"""Photos of `COUNT` that each version gets right."""


@pytest.fixture
def name(request: pytest.FixtureRequest, tracking_uri: str) -> str:
    """Registered model of four versions; the first is champion."""
    name = str(request.node.name)
    client = mlflow.MlflowClient()
    make_versions(client, name, 4)
    crown(AliasHistory(name, client), 1)
    return name


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    photos = tuple(
        replace(photo, path=tmp_path / photo.path) for photo in predictions([True] * COUNT).photos
    )
    dataset = Dataset("made-up", tmp_path, CLASSES, train=(), val=(), test=photos)

    def judge(version: ModelVersion, *_: object) -> Judged:
        number = int(version.version)
        return judged(number, answers(RIGHT[number], COUNT))

    def check(requirements: Sequence[str], *, wanted: bool = True) -> GateResult:
        return GateResult("requirements", "passed", "installable", "all")

    def open_made_up(config: object) -> Dataset:
        return dataset

    monkeypatch.setattr(promoting, "open_dataset", open_made_up)
    # Its figures take longer than all the rest; other tests look at them.
    monkeypatch.setattr(promoting, "to_html", to_json)
    monkeypatch.setattr(promoting, "judge_version", judge)
    monkeypatch.setattr(promoting, "check_requirements", check)
    monkeypatch.setattr(mlflow, "enable_system_metrics_logging", lambda: None)


def standing(name: str) -> tuple[int, int]:
    return aliases(mlflow.MlflowClient(), name)


def test_versions_are_judged_on_the_threads_of_the_promotion(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def judge(
        version: ModelVersion, _: Dataset, gazetteer: Gazetteer, threads: int, people: set[str]
    ) -> Judged:
        given.append(threads)
        return judged(int(version.version), answers(COUNT // 2, COUNT))

    monkeypatch.setattr(promoting, "judge_version", judge)
    run_promotion(PromoteConfig(model=name, candidates="2", threads=3))
    assert given == [3, 3]


def test_a_better_version_takes_over_with_a_receipt_in_three_places(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()
    client.update_model_version(name, "2", "# Card")
    result = run_promotion(PromoteConfig(model=name, candidates="2", reason="it is time"))
    assert standing(name) == (2, 1)
    assert result.entry is not None
    run_id = result.receipt.run_id
    assert (result.entry.reason, result.entry.receipt) == ("it is time", run_id)
    assert json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/receipt.json"))["winner"] == 2
    assert "Version 2 passed every gate" in Path(result.page).read_text(encoding="utf-8")
    version = client.get_model_version(name, "2")
    assert version.tags["promotion"] == "passed"
    assert version.tags["promotion.receipt"] == run_id
    assert version.description is not None
    assert version.description.startswith("# Card\n\n### Promotion: passed every gate\n")
    assert mlflow.get_run(run_id).data.tags["outcome"] == "passed"
    monkeypatch.setattr(promote, "run_promotion", lambda _: result)
    promote.main(PromoteConfig())
    printed = capsys.readouterr().out
    assert "passed       better top-1" in printed
    assert f"champion of {name} is now version 2 (history: 2)" in printed


def test_the_reason_counts_only_photos_that_were_judged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(version: ModelVersion, *_: object) -> Judged:
        return judged(int(version.version), [int(version.version) == 2] * 50, learned=COUNT - 50)

    monkeypatch.setattr(promoting, "judge_version", judge)
    entry = run_promotion(PromoteConfig(model=name, candidates="2")).entry
    assert entry is not None
    assert entry.reason == "top-1 1.0000 on 50 test photos"


def test_a_worse_version_is_refused_and_that_is_written_down(name: str) -> None:
    result = run_promotion(PromoteConfig(model=name, candidates="3"))
    assert (result.entry, standing(name)) == (None, (1, 0))
    assert mlflow.MlflowClient().get_model_version(name, "3").tags["promotion"] == "refused"
    refusal = AliasHistory(name).entries()[-1]
    assert (refusal.kind, refusal.version) == ("refuse", 3)
    assert refusal.reason.startswith("better top-1 failed: -0.0500")


def test_a_new_receipt_replaces_the_old_one_on_the_version(name: str) -> None:
    client = mlflow.MlflowClient()
    card = "# Card\n\n### Promotion: wait for the fair\n\n| size | MB |\n|---|---|"
    client.update_model_version(name, "3", card)
    for note in ("", "\n\nSeen by the editors: fine."):
        written = client.get_model_version(name, "3").description or ""
        client.update_model_version(name, "3", written + note)
        run_promotion(PromoteConfig(model=name, candidates="3"))
    description = client.get_model_version(name, "3").description
    assert description is not None
    assert description.count("### Promotion: refused") == 1
    assert description.count("| better top-1 |") == 1
    assert description.startswith(card)
    assert "Seen by the editors: fine." in description


def test_a_long_card_makes_room_for_the_receipt(name: str) -> None:
    client = mlflow.MlflowClient()
    client.update_model_version(name, "3", "word " * 999)
    run_promotion(PromoteConfig(model=name, candidates="3"))
    description = client.get_model_version(name, "3").description
    assert description is not None
    assert description.startswith("word word")
    assert description.endswith("|")
    assert "| requirements |" in description


def test_the_best_of_several_that_pass_becomes_champion(name: str) -> None:
    result = run_promotion(PromoteConfig(model=name, candidates="newest:3"))
    assert [verdict.judged.version for verdict in result.receipt.verdicts] == [4, 3, 2]
    assert [verdict.passed for verdict in result.receipt.verdicts] == [True, False, True]
    assert standing(name) == (4, 1)
    moves = [(entry.kind, entry.version) for entry in AliasHistory(name).entries()]
    assert moves[-2:] == [("refuse", 3), ("promote", 4)]


def test_a_version_that_was_rolled_back_is_judged_again_only_when_it_is_named(name: str) -> None:
    crown(AliasHistory(name), 4)
    roll_back(RollbackConfig(model=name, reason="tags the sea"))
    result = run_promotion(PromoteConfig(model=name, candidates="newest"))
    assert [verdict.judged.version for verdict in result.receipt.verdicts] == [3]
    with pytest.raises(ValueError, match="judged only when named: 4"):
        find_candidates(name, "9", 1, frozenset({4}))
    assert run_promotion(PromoteConfig(model=name, candidates="4")).receipt.winner == 4


def test_an_older_version_is_not_judged_when_nothing_is_newer_than_the_champion(name: str) -> None:
    client = mlflow.MlflowClient()
    run_promotion(PromoteConfig(model=name))
    receipt = client.get_model_version(name, "4").tags["promotion.receipt"]
    with pytest.raises(ValueError, match=r"no newer version than the champion, version 4; there"):
        find_candidates(name, "newest", 4)
    with pytest.raises(ValueError, match=r"newer version .*judged only when named: 3, 4\)"):
        find_candidates(name, "newest", 2, frozenset({3, 4}))
    with pytest.raises(ValueError, match=r"candidates=<version>"):
        run_promotion(PromoteConfig(model=name))
    assert "promotion" not in client.get_model_version(name, "3").tags
    assert client.get_model_version(name, "4").tags["promotion.receipt"] == receipt
    assert [int(one.version) for one in find_candidates(name, "newest:2", 4)] == [3, 2]


def test_a_champion_that_moves_meanwhile_stops_the_promotion(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = promoting.note_on_version

    def note_late(*given: object) -> None:
        crown(AliasHistory(name), 4)
        note(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(promoting, "note_on_version", note_late)
    with pytest.raises(ConflictError, match="Version 4 was promoted"):
        run_promotion(PromoteConfig(model=name, candidates="2"))
    assert standing(name) == (4, 1)


def test_candidates_that_are_not_there_are_refused(name: str) -> None:
    for wanted, sentence in (
        ("9", "no such version beside the champion, version 1; there are: 1, 2, 3, 4"),
        ("1", "no such version beside the champion"),
        ("oldest", "give newest, newest:3, a version number"),
        ("models:/other/2", "give newest"),
        (f"models:/{name}@nobody", "no alias 'nobody'"),
        ("experiment:mine", "give newest"),
    ):
        with pytest.raises(ValueError, match=sentence):
            find_candidates(name, wanted, champion=1)


def test_an_outage_is_not_reported_as_a_missing_version(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ("get_model_version", "get_model_version_by_alias"):
        monkeypatch.setattr(mlflow.MlflowClient, asked, fail)
    for wanted in ("2", f"models:/{name}@challenger"):
        with pytest.raises(MlflowException, match="503"):
            find_candidates(name, wanted, champion=1)


def test_of_many_versions_no_more_are_fetched_than_are_judged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(30):
        mlflow.MlflowClient().create_model_version(name, "somewhere/model")
    fetched: list[str] = []
    search = mlflow.search_model_versions

    def count(**asked: object) -> list[ModelVersion]:
        found: list[ModelVersion] = search(**asked)  # type: ignore[arg-type]
        fetched.extend(version.version for version in found)
        return found

    monkeypatch.setattr(mlflow, "search_model_versions", count)
    newest = find_candidates(name, "newest:2", champion=34)
    assert [int(version.version) for version in newest] == [33, 32]
    assert len(fetched) == 3
    with pytest.raises(ValueError, match=r"there are: older ones, 15, 16, .*, 33, 34"):
        find_candidates(name, "99", champion=1)


def test_a_candidate_can_be_named_by_its_alias(name: str) -> None:
    AliasHistory(name).set_challenger(3)
    found = run_promotion(PromoteConfig(model=name, candidates=f"models:/{name}@challenger"))
    assert found.receipt.verdicts[0].judged.version == 3


def test_two_rollbacks_and_the_history_of_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crown(AliasHistory(name), 2, 3)
    rollback.main(RollbackConfig(model=name, reason="it tagged cats"))
    assert f"champion of {name} was version 3 and is now version 2" in capsys.readouterr().out
    roll_back(RollbackConfig(model=name, reason="still cats"))
    assert standing(name) == (1, 0)
    with pytest.raises(ValueError, match="no champion before version 1 to go back to"):
        roll_back(RollbackConfig(model=name, reason="once more"))
    history.main(HistoryConfig(model=name))
    printed = capsys.readouterr().out
    assert "it tagged cats" in printed
    history.main(HistoryConfig(model=name, json=True))
    told = json.loads(capsys.readouterr().out)
    assert [entry["champion"] for entry in told] == ["1", "2", "3", "2", "1"]
    rows, _ = tell_history(HistoryConfig(model=name))
    expected = ["register 1", "promote 2", "promote 3", "rollback 2", "rollback 1"]
    assert [row["what"] for row in rows] == expected


def test_a_version_says_that_it_was_rolled_back_until_it_is_promoted_again(name: str) -> None:
    client = mlflow.MlflowClient()
    client.update_model_version(name, "4", "# Card")
    crown(AliasHistory(name), 4)
    _, entry, _ = roll_back(RollbackConfig(model=name, reason="it tagged\ncats"))
    line = f"**Rolled back** to version 1, {entry.at}: it tagged cats"
    version = client.get_model_version(name, "4")
    assert (version.tags["rolled_back"], version.description) == (entry.at, f"{line}\n\n# Card")
    assert "rolled_back" not in client.get_model_version(name, "1").tags
    run_promotion(PromoteConfig(model=name, candidates="4"))
    version = client.get_model_version(name, "4")
    assert "rolled_back" not in version.tags
    assert version.description is not None
    assert version.description.startswith(line)


def test_a_rollback_killed_before_it_wrote_on_the_version_is_done(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    crown(AliasHistory(name), 4)
    monkeypatch.setattr(mlflow.MlflowClient, "set_model_version_tag", die)
    with pytest.raises(Killed):
        roll_back(RollbackConfig(model=name, reason="it tagged cats"))
    assert (standing(name), AliasHistory(name).reconcile()[1]) == ((1, 0), [])


def test_a_rollback_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="reason is empty"):
        roll_back(RollbackConfig(reason=" "))


def test_a_reason_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="reason has 1001 characters"):
        RollbackConfig(reason="x" * 1001)


INSTALLABLE = GateResult("requirements", "passed", "1 | 1 package", "all")


def receipt(*challengers: Judged, champion: Judged | None, winner: int) -> Receipt:
    verdicts = [
        verdict(challenger, champion, PromoteConfig(), INSTALLABLE) for challenger in challengers
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


def test_what_was_compared_and_what_was_not_checked_is_said() -> None:
    champion = replace(CHAMPION, learned=None)
    challenger = replace(BETTER, learned=12)
    found = receipt(challenger, champion=champion, winner=2)
    assert explain(found.verdicts[0], found) == [
        "Compared on 200 photos of 2 landmarks that both know and 0 of no landmark.",
        "Left out: 12 test photos that the challenger was trained on or chosen by, or nearly the"
        " same.",
        "Not checked: whether the champion learned from some of these photos.",
        "Earlier promotions on these photos, each counted by the share of them that it used: 0. So"
        " alpha is 0.025 now, and 0.025 is left for all later ones. New test photos renew it.",
    ]
    lost = replace(found.verdicts[0], spending=Spending(0.05, 1.5, 2, 1))
    assert explain(lost, found)[-2:] == [
        "Earlier promotions on these photos, each counted by the share of them that it used: 1.5."
        " So alpha is 0.0057 now, and 0.014 is left for all later ones. New test photos renew it.",
        "Not checked: earlier promotions whose test photos cannot be read any more (1); they count"
        " in full.",
    ]
    more = (*CLASSES, "Moai")
    for versions, said in (
        ((judged(2, predictions([True] * 200, classes=more)), CHAMPION), "New, known to the"),
        ((CHAMPION, judged(2, predictions([True] * 200, classes=more))), "Known to the champion"),
    ):
        found = receipt(versions[0], champion=versions[1], winner=0)
        assert any(line.startswith(said) for line in explain(found.verdicts[0], found))


def test_the_receipt_counts_corrected_photos_that_are_answered_as_people_do() -> None:
    asked = predictions([True] * 200).photos
    people = dict.fromkeys(asked[:3], "Atomium") | {asked[199]: "Petra"}
    challenger = {photo: (shows, "Atomium") for photo, shows in people.items()}
    champion = {photo: (shows, "") for photo, shows in people.items() if photo != asked[0]}
    before = replace(CHAMPION, corrected=champion)
    found = receipt(replace(BETTER, corrected=challenger), champion=before, winner=2)
    assert not any("corrected" in line for line in explain(found.verdicts[0], found))
    found = replace(found, limits={"corrections": "corrections.csv"})
    said = explain(found.verdicts[0], found)
    counted = "Of 3 photos that people corrected and neither learned, the challenger answers 2 as"
    assert any(line.startswith(f"{counted} they do, the champion 0.") for line in said)
    page = to_html(found)
    assert "Corrected photos that one or both answer otherwise" in page
    assert page.count("<td>no landmark</td>") == 3


def test_the_receipt_says_when_no_corrected_photo_is_new_to_both() -> None:
    found = receipt(BETTER, champion=CHAMPION, winner=2)
    found = replace(found, limits={"corrections": "corrections.csv"})
    assert any("No corrected photo is known" in line for line in explain(found.verdicts[0], found))


def test_the_same_test_photos_decide_at_an_ever_smaller_alpha(name: str) -> None:
    def alpha(candidates: str) -> float:
        receipt = run_promotion(PromoteConfig(model=name, candidates=candidates)).receipt
        spending = receipt.verdicts[0].spending
        assert spending is not None
        written = json.loads(mlflow.artifacts.load_text(f"runs:/{receipt.run_id}/receipt.json"))
        assert written["challengers"][0]["alpha"]["now"] == spending.now
        return spending.now

    assert alpha("3") == pytest.approx(0.05 / 2)
    # The same once more is no new chance.
    assert alpha("3") == pytest.approx(0.05 / 2)
    assert alpha("2") == pytest.approx(0.05 / 6)
    assert standing(name) == (2, 1)
    assert alpha("4") == pytest.approx(0.05 / 12)


def test_the_json_holds_every_number(accepted: Receipt) -> None:
    content = json.loads(to_json(accepted))
    assert (content["winner"], content["photos"], content["test_digest"]) == (2, 200, "d1")
    better, worse = content["challengers"]
    assert (better["version"], better["passed"], worse["passed"]) == (2, True, False)
    assert better["metrics"]["top1"] == pytest.approx(0.95)
    assert {gate["outcome"] for gate in worse["gates"]} == {"passed", "failed", "skipped"}
    assert {row["landmark"] for row in worse["landmarks"]} == {"Atomium", "Petra"}
    assert content["limits"]["alpha"] == 0.05


@pytest.fixture(scope="module")
def page(refused: Receipt) -> str:
    return to_html(refused)


def test_the_page_shows_gates_metrics_and_figures_and_fetches_nothing(page: str) -> None:
    assert "Promotion of “landmarks”: refused" in page
    assert page.count("data:image/png;base64,") == 3
    assert "<h2>Landmark by landmark</h2>" in page
    assert "<h2>Photos lost</h2>" in page
    # It won none, so there is nothing to show.
    assert "<h2>Photos won</h2>" not in page
    assert "Calibration of version 3" in page
    assert "(champion)" in page
    assert "✗ failed" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "photos &lt;b&gt;" in page


def test_the_page_shows_metrics_in_the_words_of_the_metric_table(page: str) -> None:
    for name in ("top1", "ece", "ms_per_photo"):
        assert f">{METRICS[name].caption}</th>" in page
    assert "0.500 (0.431 to 0.569)" in page


def test_the_page_shows_no_metric_of_photos_that_only_one_was_asked_about() -> None:
    champion = judged(1, predictions([True] * 20))
    asked_more = judged(2, together(predictions([True] * 20), none(9, tagged=3)))
    page = to_html(receipt(asked_more, champion=champion, winner=0))
    assert f">{METRICS['top1'].caption}</th>" in page
    assert METRICS["distractors_tagged"].caption not in page


def test_the_page_of_a_model_that_could_not_be_judged_says_why() -> None:
    page = to_html(receipt(unloadable(2), champion=None, winner=0))
    assert "refused" in page
    assert "it needs pickle" in page


def test_the_page_links_the_training_runs_that_are_still_there(tracking_uri: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_param("epochs", 3)
    there = replace(judged(2, predictions([True] * 20)), run_id=run.info.run_id)
    page = to_html(receipt(there, champion=judged(1, predictions([True] * 20)), winner=0))
    assert f"/runs/{run.info.run_id}?workflowType=machine_learning" in page
    assert "<code>run1</code>" in page
    assert "/runs/run1" not in page


def test_markdown_has_a_row_for_each_gate(accepted: Receipt) -> None:
    verdict = accepted.verdict(2)
    text = to_markdown(accepted, verdict)
    assert text.startswith("### Promotion: passed every gate\n")
    assert "on 1 landmark photo and 7 without" in to_markdown(replace(accepted, photos=1), verdict)
    assert "run `abc`" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(verdict.gates)
    assert "1 \\| 1 package" in text
