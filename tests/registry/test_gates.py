"""What a challenger must prove, and what stops it; pip is asked whether it could be installed."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from landmark_ml.config import PromoteConfig
from landmark_ml.evaluation.metrics import bootstrap
from landmark_ml.registry import gates
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.gates import GateResult, check_requirements
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

LIMITS = PromoteConfig()
INSTALLABLE = GateResult("requirements", "passed", "1 package", "all")
CHAMPION = judged(1, answers(160, 200))
BETTER = judged(2, answers(190, 200))
MORE = (*CLASSES, "Moai")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "bootstrap", functools.partial(bootstrap, resamples=200))


def outcomes(
    challenger: Judged,
    champion: Judged | None = CHAMPION,
    limits: PromoteConfig = LIMITS,
    alpha: float = 0.025,
) -> dict[str, GateResult]:
    found = verdict(challenger, champion, limits, INSTALLABLE, alpha)
    return {gate.name: gate for gate in found.gates}


def stops(*args: object, **kwargs: object) -> list[str]:
    found = outcomes(*args, **kwargs)  # type: ignore[arg-type]
    return [name for name, gate in found.items() if gate.stops]


def test_a_clearly_better_challenger_passes_every_gate() -> None:
    found = outcomes(BETTER)
    assert list(found) == [
        "loads without pickle",
        "unseen photos",
        "better top-1",
        "no landmark worse",
        "GAP",
        "ECE",
        "tags on no landmark",
        "tags on unseen landmarks",
        "latency",
        "size",
        "requirements",
    ]
    assert stops(BETTER) == []
    assert "+0.1500" in found["better top-1"].measured
    assert "p = 9.3e-10" in found["better top-1"].measured
    assert found["tags on no landmark"].outcome == "skipped"


def test_a_gain_that_may_be_chance_is_not_enough() -> None:
    assert "better top-1" in stops(judged(2, answers(164, 200)))
    assert outcomes(judged(2, answers(160, 200)))["better top-1"].outcome == "failed"


def test_a_smaller_alpha_asks_for_more() -> None:
    # Eight photos more: p = 0.0039.
    challenger = judged(2, answers(168, 200))
    assert "better top-1" not in stops(challenger)
    assert "better top-1" in stops(challenger, alpha=0.0025)


@pytest.mark.parametrize(
    ("alpha", "photos"), [(0.025, 6), (0.025 / 3, 7), (0.5, 2), (1 / 64, 7), (1 / 63, 6)]
)
def test_too_few_photos_are_not_checked_with_the_number_needed(alpha: float, photos: int) -> None:
    enough = [
        outcomes(judged(2, [True] * n), judged(1, [False] * n), alpha=alpha)
        for n in (photos - 1, photos)
    ]
    few, many = (found["better top-1"] for found in enough)
    assert (few.outcome, many.outcome) == ("not checked", "passed")
    assert f"{photos - 1} photos" in few.measured
    assert f"{photos} is the least" in few.measured


def grown(old: list[bool], new: list[bool], *, taken: int = 0, tagged_none: int = 0) -> Judged:
    """A challenger that knows a third landmark; `taken`: photos of no landmark tagged as it."""
    parts = [
        predictions(old, classes=MORE),
        predictions(new, classes=MORE, labels=[2] * len(new), first=5000),
        replace(none(200, tagged_none + taken), classes=MORE),
    ]
    parts[2].best[:taken] = 2
    return judged(2, together(*parts))


def old_champion(old: list[bool], new: int) -> Judged:
    unknown = predictions([False] * new, labels=[-1] * new, first=5000)
    return judged(1, together(predictions(old), none(200), unseen=unknown))


def test_new_landmarks_do_not_hide_losses_on_old_ones() -> None:
    # Pooled, 50 won and 30 lost would pass.
    old = [True] * 482 + [False] * 40
    lost = [False] * 30 + [True] * 452 + [True] * 10 + [False] * 30
    champion = old_champion(old, 40)
    found = outcomes(grown(lost, [True] * 40), champion)
    assert "better top-1" not in found
    assert found["top-1 not worse"].outcome == "failed"
    assert "only it 10, only the champion 30 of 522 photos" in found["top-1 not worse"].measured
    assert stops(grown(old, [True] * 40), champion) == []


def test_too_few_photos_cannot_show_that_nothing_was_lost() -> None:
    few = outcomes(grown([True] * 124, [True] * 4), old_champion([True] * 124, 4))
    assert few["top-1 not worse"].outcome == "not checked"
    said = "125 is the least that can show it: add test photos, or accept a top1_margin above 0.03"
    assert said in few["top-1 not worse"].measured
    assert stops(grown([True] * 125, [True] * 4), old_champion([True] * 125, 4)) == []
    # No margin below 1 would do for 0 photos.
    none_left = outcomes(grown([], [True] * 4), old_champion([], 4))["top-1 not worse"]
    assert none_left.measured.endswith("125 is the least that can show it")


@pytest.mark.parametrize(
    ("alpha", "level"), [(0.025, "95%"), (0.025 / 3, "98.3%"), (1e-6, "99.9998%")]
)
def test_the_level_of_an_interval_is_never_rounded_to_100(alpha: float, level: str) -> None:
    asked = outcomes(grown([True] * 9, [True] * 4), old_champion([True] * 9, 4), alpha=alpha)
    assert f"the whole {level} interval" in asked["top-1 not worse"].asked


def test_new_landmarks_have_to_be_found() -> None:
    old = answers(190, 200)
    champion = old_champion(old, 10)
    assert stops(grown(old, [True] * 5 + [False] * 5), champion) == []
    missed = grown(old, [True] * 4 + [False] * 6)
    assert stops(missed, champion) == ["new landmarks found"]
    assert outcomes(missed, champion)["new landmarks found"].measured == "4 of 10 photos"
    assert stops(missed, champion, replace(LIMITS, min_new_found=0.0)) == []
    untested = outcomes(grown(old, []), old_champion(old, 0))["new landmarks found"]
    assert untested.outcome == "not checked"
    assert "no test photo of Moai; add photos of them, or pass min_new_found=0" in untested.measured


def test_new_landmarks_may_not_take_other_photos() -> None:
    old = answers(190, 200)
    champion = old_champion(old, 10)
    limits = replace(LIMITS, false_tag_margin=0.5)
    challenger = grown(old, [True] * 10, taken=20)
    assert challenger.predictions is not None
    wrong = challenger.predictions.shows_landmark & ~challenger.predictions.correct
    challenger.predictions.best[wrong] = 2
    found = outcomes(challenger, champion, limits)
    assert found["taken for new landmarks"].outcome == "failed"
    said = "10 of 200 photos of other landmarks, 20 of 200 of no landmark; 7.5% (95% from 5.3%)"
    assert found["taken for new landmarks"].measured == said
    assert stops(grown(old, [True] * 10, taken=4), champion, limits) == []


def test_a_lost_landmark_stops_a_challenger_unless_that_is_allowed() -> None:
    more = predictions(answers(160, 200), classes=MORE)
    champion, challenger = judged(1, more), judged(2, answers(190, 200))
    assert stops(challenger, champion) == ["landmarks kept"]
    assert outcomes(challenger, champion)["landmarks kept"].measured == "no longer knows Moai"
    assert stops(challenger, champion, replace(LIMITS, allow_removed=True)) == []


def with_none(version: int, right: int, tagged: int, count: int = 300) -> Judged:
    return judged(version, together(predictions(answers(right, 200)), none(count, tagged)))


def test_tags_on_photos_of_none_stop_a_challenger_that_surely_sets_more() -> None:
    champion = with_none(1, 160, 3)
    assert stops(with_none(2, 190, 3), champion) == []
    # One point more is allowed, and more than that has to be shown.
    assert stops(with_none(2, 190, 8), champion) == []
    found = outcomes(with_none(2, 190, 25), champion)
    assert found["tags on no landmark"].outcome == "failed"
    assert "8.3% of 300 photos, champion 1.0%" in found["tags on no landmark"].measured


def test_tags_on_landmarks_that_neither_knows_are_a_gate_too() -> None:
    def with_unseen(version: int, right: int, tagged: int) -> Judged:
        return judged(
            version, together(predictions(answers(right, 200)), unseen=none(100, tagged, 7000))
        )

    champion = with_unseen(1, 160, 10)
    assert stops(with_unseen(2, 190, 10), champion) == []
    assert stops(with_unseen(2, 190, 30), champion) == ["tags on unseen landmarks"]


def test_only_photos_that_both_were_asked_about_are_compared() -> None:
    # The champion learned from the first 150 photos, the challenger from none.
    left = predictions(answers(190, 200)).photos[150:]
    champion = judged(
        1, replace(predictions([False] * 50, labels=[1] * 50), photos=left), learned=150
    )
    measured = outcomes(BETTER, champion)["better top-1"].measured
    assert "of 50 photos" in measured


def test_one_lost_landmark_stops_a_challenger_that_is_better_overall() -> None:
    champion = judged(1, [True] * 20 + [False] * 80 + [False] * 100)
    challenger = judged(2, [False] * 20 + [True] * 80 + [True] * 100)
    assert stops(challenger, champion) == []
    losing = judged(2, [False] * 20 + [False] * 80 + [True] * 100)
    assert stops(losing, champion) == ["no landmark worse"]
    assert "Atomium" in outcomes(losing, champion)["no landmark worse"].measured


def test_a_surely_less_calibrated_challenger_is_stopped() -> None:
    champion = judged(1, answers(160, 200), confidence=0.8)
    assert stops(judged(2, answers(190, 200), confidence=0.96), champion) == []
    assert stops(judged(2, answers(190, 200), confidence=0.6), champion) == ["ECE"]


def test_a_challenger_that_surely_ranks_worse_is_stopped() -> None:
    # Photos of no landmark come before all others, and no landmark is answered less often right.
    champion = judged(1, together(predictions(answers(160, 200)), none(100)))
    others = replace(none(100), confidence=predictions([True] * 100, 0.95).confidence)
    challenger = judged(2, together(predictions(answers(180, 200)), others))
    assert stops(challenger, champion) == ["GAP"]


@pytest.mark.parametrize(
    ("facts", "gate"),
    [
        ({"metrics": {"ms_per_photo": 151.0}}, "latency"),
        ({"megabytes": 100.1}, "size"),
        ({"pickles": ("model.pkl",)}, "loads without pickle"),
    ],
)
def test_each_gate_stops_alone(facts: dict[str, object], gate: str) -> None:
    challenger = judged(2, answers(190, 200), **facts)
    assert stops(challenger) == [gate]
    assert outcomes(challenger)[gate].outcome == "failed"


def test_a_model_of_more_landmarks_may_be_larger_unless_the_size_was_set() -> None:
    many = tuple(f"Landmark {number}" for number in range(1000))
    wide = judged(2, predictions(answers(190, 200), classes=many), megabytes=119.0)
    assert stops(wide, None) == []
    assert stops(wide, None, PromoteConfig(max_mb=100)) == ["size"]


def test_without_a_manifest_the_gate_on_unseen_photos_is_not_passed() -> None:
    gate = outcomes(judged(2, answers(190, 200), learned=None))["unseen photos"]
    assert gate.outcome == "not checked"
    assert gate.measured == "its run has no readable split_manifest.json"


def test_photos_that_were_left_out_are_counted() -> None:
    gate = outcomes(judged(2, answers(190, 200), learned=30))["unseen photos"]
    assert (gate.outcome, gate.measured) == ("passed", "30 left out, judged on 200")


def test_a_model_that_learned_every_test_photo_is_not_checked() -> None:
    learned = replace(BETTER, report=None, learned=200)
    assert stops(learned) == ["unseen photos"]
    said = "no test photo of a landmark is left to judge it on (200 were left out, learned); add"
    assert said in outcomes(learned)["unseen photos"].measured
    gate = outcomes(BETTER, replace(CHAMPION, report=None, learned=200))["better top-1"]
    assert gate.outcome == "not checked"
    assert said in gate.measured


def test_data_without_test_photos_is_not_blamed_on_what_was_learned() -> None:
    gate = outcomes(replace(BETTER, report=None, learned=0))["unseen photos"]
    assert gate.outcome == "not checked"
    assert "0 were left out, learned); add photos of other visits" in gate.measured


def test_a_model_that_cannot_be_loaded_fails_the_first_gate_only() -> None:
    found = outcomes(unloadable(2))
    assert list(found) == ["loads without pickle"]
    assert found["loads without pickle"].measured == "it needs pickle"


def test_a_champion_that_cannot_be_judged_is_not_beaten() -> None:
    gate = outcomes(BETTER, unloadable(1))["better top-1"]
    assert gate.outcome == "not checked"
    assert "it needs pickle" in gate.measured


def test_what_is_not_known_of_the_champion_stops_nobody() -> None:
    assert stops(BETTER, replace(CHAMPION, learned=None)) == []


def test_without_a_champion_there_is_nothing_to_beat() -> None:
    assert stops(judged(2, answers(20, 200)), None) == []
    assert "better top-1" not in outcomes(BETTER, None)


OFFLINE = """WARNING: Retrying … NewConnectionError: [Errno -3] Temporary failure
ERROR: Could not find a version that satisfies the requirement numpy==2.1.0"""
NO_PIP = "/home/me/.venv/bin/python: No module named pip\n"
ABSENT = "ERROR: No matching distribution found for numpy==99.0"


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        ((0, ""), "passed", "1 packages can be installed"),
        ((1, ABSENT), "failed", "No matching distribution found for numpy==99.0"),
        ((1, OFFLINE), "not checked", "go online, or pass check_requirements=False"),
    ],
)
def test_what_pip_says_counts(
    answer: tuple[int, str], outcome: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "ask_pip", lambda _listed: answer)
    result = check_requirements(["numpy==2.1.0"])
    assert result.outcome == outcome
    assert said in result.measured


def test_the_gate_can_be_skipped() -> None:
    result = check_requirements(["numpy==2.1.0"], wanted=False)
    assert (result.outcome, result.measured) == ("skipped", "check_requirements is off")


def test_a_model_without_requirements_is_refused() -> None:
    assert check_requirements([]).outcome == "failed"


def test_a_missing_pip_is_not_taken_for_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "ask_pip", lambda _listed: (1, NO_PIP))
    result = check_requirements(["numpy==2.1.0"])
    assert result.outcome == "not checked"
    assert "No module named pip; install it there" in result.measured
    assert "check_requirements=False" in result.measured
    assert "online" not in result.measured


@pytest.mark.slow
def test_without_a_network_pip_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    result = check_requirements(["numpy==2.1.0"])
    assert result.outcome == "not checked", result
