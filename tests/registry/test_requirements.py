"""pip is asked whether requirements can be installed; no answer does not pass."""

from __future__ import annotations

import pytest

from landmark_ml.registry import requirements
from landmark_ml.registry.requirements import check_requirements

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
    monkeypatch.setattr(requirements, "ask_pip", lambda _listed: answer)
    gate = check_requirements(["numpy==2.1.0"])
    assert gate.outcome == outcome
    assert said in gate.measured


def test_the_gate_can_be_skipped_and_says_so() -> None:
    gate = check_requirements(["numpy==2.1.0"], wanted=False)
    assert (gate.outcome, gate.measured) == ("passed", "skipped on request")


def test_a_model_without_requirements_is_refused() -> None:
    assert check_requirements([]).outcome == "failed"


def test_a_missing_pip_is_not_taken_for_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "ask_pip", lambda _listed: (1, NO_PIP))
    gate = check_requirements(["numpy==2.1.0"])
    assert gate.outcome == "not checked"
    assert "has no pip; install it there" in gate.measured
    assert "check_requirements=False" in gate.measured
    assert "online" not in gate.measured


@pytest.mark.slow
def test_without_a_network_pip_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    gate = check_requirements(["numpy==2.1.0"])
    assert gate.outcome == "not checked", gate
