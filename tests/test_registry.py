"""Versions of the registered model: who becomes champion, and what a version says of itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import mlflow
import pytest

from landmark_ml.registry import (
    CHAMPION,
    PREVIOUS,
    Registered,
    find_champion,
    register,
    served_requirements,
)
from tests.colour_artifact import log_artifact

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo


@pytest.fixture
def model(tracking_uri: str) -> ModelInfo:
    return log_artifact(tracking_uri)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Registered model that no other test uses."""
    return str(request.node.name)


def add(model: ModelInfo, name: str, top1: str, digest: str = "these photos") -> Registered:
    return register(model, name, {"top1": top1, "test_digest": digest}, f"# Card of {top1}")


def aliases(name: str) -> dict[str, int]:
    found = mlflow.MlflowClient().get_registered_model(name).aliases
    return {alias: int(number) for alias, number in found.items()}


def test_nobody_is_champion_of_a_model_that_is_not_there(tracking_uri: str) -> None:
    assert find_champion("never-registered") is None


def test_the_first_version_is_champion(model: ModelInfo, name: str) -> None:
    registered = add(model, name, "0.5")
    assert registered == Registered(name, 1, is_champion=True, reason="the first version")
    assert aliases(name) == {CHAMPION: 1}
    champion = find_champion(name)
    assert champion is not None
    assert int(champion.version) == 1


def test_a_better_version_takes_over_and_the_former_is_kept(model: ModelInfo, name: str) -> None:
    add(model, name, "0.5")
    better = add(model, name, "0.75")
    assert better.is_champion
    assert better.reason == "top-1 0.7500 against 0.5000 of version 1"
    assert aliases(name) == {CHAMPION: 2, PREVIOUS: 1}
    add(model, name, "0.875")
    assert aliases(name) == {CHAMPION: 3, PREVIOUS: 2}


@pytest.mark.parametrize("top1", ["0.25", "0.5"], ids=["worse", "equal"])
def test_a_version_that_is_no_better_waits(top1: str, model: ModelInfo, name: str) -> None:
    add(model, name, "0.5")
    waiting = add(model, name, top1)
    assert (waiting.version, waiting.is_champion) == (2, False)
    assert waiting.reason == "the champion, version 1, has top-1 0.5"
    assert aliases(name) == {CHAMPION: 1}


def test_versions_measured_on_other_photos_are_not_compared(model: ModelInfo, name: str) -> None:
    add(model, name, "0.5")
    other = add(model, name, "0.99", digest="other photos")
    assert not other.is_champion
    assert "measured on other test photos" in other.reason
    assert aliases(name) == {CHAMPION: 1}


def test_a_version_carries_its_receipt(model: ModelInfo, name: str) -> None:
    add(model, name, "0.5")
    found = mlflow.MlflowClient().get_model_version(name, "1")
    assert found.tags == {"top1": "0.5", "test_digest": "these photos"}
    assert found.description == "# Card of 0.5"
    assert found.run_id == model.run_id


def test_requirements_are_those_installed_here() -> None:
    pins = dict(line.split("==") for line in served_requirements())
    assert pins == {name: version(name) for name in pins}
    assert not {"torch", "timm", "mlflow", "landmark-ml"} & set(pins)
