"""What a challenger must prove, and what stops it; pip is asked whether it could be installed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landmark_ml.config import PromoteConfig
from landmark_ml.registry import gates
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.gates import (
    GateResult,
    check_gates,
    check_requirements,
    class_losses,
    holm,
)
from tests.registry.judged_versions import answers, judged, predictions, unloadable

LIMITS = PromoteConfig()
INSTALLABLE = GateResult("requirements", "passed", "1 package", "all")
CHAMPION = judged(1, answers(160, 200))
BETTER = judged(2, answers(190, 200))


def outcomes(
    challenger: Judged,
    champion: Judged | None = CHAMPION,
    limits: PromoteConfig = LIMITS,
    challengers: int = 1,
) -> dict[str, GateResult]:
    gates = check_gates(
        challenger, champion, limits, challengers=challengers, installable=INSTALLABLE
    )
    return {gate.name: gate for gate in gates}


def stops(*args: object, **kwargs: object) -> list[str]:
    found = outcomes(*args, **kwargs)  # type: ignore[arg-type]
    return [name for name, gate in found.items() if gate.outcome != "passed"]


def test_a_clearly_better_challenger_passes_every_gate() -> None:
    gates = outcomes(BETTER)
    assert list(gates) == [
        "loads without pickle",
        "better top-1",
        "no landmark worse",
        "GAP",
        "ECE",
        "latency",
        "size",
        "unseen photos",
        "requirements",
    ]
    assert stops(BETTER) == []
    assert "+0.1500" in gates["better top-1"].measured
    assert "p = 1.9e-09" in gates["better top-1"].measured


def test_a_gain_that_may_be_chance_is_not_enough() -> None:
    assert "better top-1" in stops(judged(2, answers(164, 200)))
    assert outcomes(judged(2, answers(160, 200)))["better top-1"].outcome == "failed"


def test_the_best_of_many_challengers_needs_a_smaller_p() -> None:
    # Eight photos more: p = 0.0078.
    challenger = judged(2, answers(168, 200))
    assert "better top-1" not in stops(challenger)
    assert "better top-1" in stops(challenger, challengers=10)


def test_a_smallest_gain_can_be_asked_for() -> None:
    assert "better top-1" in stops(BETTER, limits=replace(LIMITS, min_gain=0.2))


def test_one_lost_landmark_stops_a_challenger_that_is_better_overall() -> None:
    champion = judged(1, [True] * 20 + [False] * 80 + [False] * 100)
    challenger = judged(2, [False] * 20 + [True] * 80 + [True] * 100)
    first = class_losses(*(version.predictions for version in (challenger, champion)))  # type: ignore[arg-type]
    assert stops(challenger, champion) == []
    assert first[0].p > 0.9
    losing = judged(2, [False] * 20 + [False] * 80 + [True] * 100)
    assert stops(losing, champion) == ["no landmark worse"]
    assert "Atomium" in outcomes(losing, champion)["no landmark worse"].measured


def test_losses_are_corrected_for_the_number_of_landmarks() -> None:
    champion = predictions([True] * 5 + [False] * 5 + [True] * 5 + [False] * 5)
    challenger = predictions([False] * 10 + [False] * 10)
    losses = class_losses(challenger, champion)
    # A sign test of 5 to 0 has p = 1/32; of two landmarks the surest counts twice.
    assert [loss.p for loss in losses] == [pytest.approx(2 / 32)] * 2


def test_holm_never_falls_and_never_exceeds_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.9][:1]) == [0.01]
    assert holm([0.01, 0.02, 0.5]) == pytest.approx([0.03, 0.04, 0.5])
    assert holm([0.2, 0.21, 0.9]) == pytest.approx([0.6, 0.6, 0.9])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("facts", "gate"),
    [
        ({"metrics": {"gap": 0.5}}, "GAP"),
        ({"metrics": {"ece": 0.9}}, "ECE"),
        ({"metrics": {"ms_per_photo": 151.0}}, "latency"),
        ({"megabytes": 101.0}, "size"),
        ({"pickles": ("model.pkl",)}, "loads without pickle"),
        ({"seen": 1}, "unseen photos"),
    ],
)
def test_each_gate_stops_alone(facts: dict[str, object], gate: str) -> None:
    challenger = judged(2, answers(190, 200), **facts)
    assert stops(challenger) == [gate]
    assert outcomes(challenger)[gate].outcome == "failed"


def test_without_a_manifest_the_gate_on_unseen_photos_is_not_passed() -> None:
    gate = outcomes(judged(2, answers(190, 200), seen=None))["unseen photos"]
    assert (gate.outcome, gate.measured) == ("not checked", "its run has no split_manifest.json")


def test_a_model_that_cannot_be_loaded_fails_the_first_gate_only() -> None:
    gates = outcomes(unloadable(2))
    assert list(gates) == ["loads without pickle"]
    assert gates["loads without pickle"].measured == "it needs pickle"


def test_a_version_without_answers_passes_no_gate_even_without_a_problem() -> None:
    assert stops(replace(unloadable(2), problem="")) == ["loads without pickle"]


def test_a_champion_that_cannot_be_judged_is_not_beaten() -> None:
    gate = outcomes(BETTER, unloadable(1))["better top-1"]
    assert gate.outcome == "not checked"
    assert "it needs pickle" in gate.measured


@pytest.mark.parametrize("challenger", [BETTER, judged(2, answers(100, 200))])
def test_no_challenger_is_compared_with_a_champion_that_learned_from_the_photos(
    challenger: Judged,
) -> None:
    champion = replace(CHAMPION, seen=12)
    assert stops(challenger, champion) == ["better top-1"]
    gates = outcomes(challenger, champion)
    assert gates["better top-1"].outcome == "not checked"
    assert "the champion learned from 12 of these photos; give" in gates["better top-1"].measured
    assert not {"no landmark worse", "GAP", "ECE"} & set(gates)


def test_a_champion_without_a_manifest_is_mentioned_and_stops_nobody() -> None:
    doubt = "its run has no split_manifest.json, so the champion may have learned from them"
    assert stops(BETTER, replace(CHAMPION, seen=None)) == []
    assert doubt in outcomes(BETTER, replace(CHAMPION, seen=None))["better top-1"].measured
    assert doubt not in outcomes(BETTER)["better top-1"].measured


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


def test_the_gate_can_be_skipped_and_says_so() -> None:
    result = check_requirements(["numpy==2.1.0"], wanted=False)
    assert (result.outcome, result.measured) == ("passed", "skipped on request")


def test_a_model_without_requirements_is_refused() -> None:
    assert check_requirements([]).outcome == "failed"


def test_a_missing_pip_is_not_taken_for_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "ask_pip", lambda _listed: (1, NO_PIP))
    result = check_requirements(["numpy==2.1.0"])
    assert result.outcome == "not checked"
    assert "has no pip; install it there" in result.measured
    assert "check_requirements=False" in result.measured
    assert "online" not in result.measured


@pytest.mark.slow
def test_without_a_network_pip_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    result = check_requirements(["numpy==2.1.0"])
    assert result.outcome == "not checked", result
