"""pip is asked whether requirements can be installed; no answer does not pass."""

from __future__ import annotations

import pytest

from landmark_ml.registry import gates
from landmark_ml.registry.gates import check_requirements

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
