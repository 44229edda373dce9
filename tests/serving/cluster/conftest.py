"""A small library, the network that knows it, and a table in several parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from landmark_ml.config import ClusterConfig
from landmark_ml.inference.predictor import Predictor
from serving.cluster.tagger import ClusterResult, tag_photos
from tests.serving.cluster.one_process import OneProcess
from tests.serving.tagging.conftest import write_library

Run: TypeAlias = Callable[..., ClusterResult]


@pytest.fixture(autouse=True)
def loaded_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take the network that this process has loaded already."""
    monkeypatch.setattr(Predictor, "load", lambda *_, **__: predictor)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_library(tmp_path / "photos")


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> ClusterConfig:
    return ClusterConfig(photos=str(photos), out=str(tmp_path / "out"), part_photos=2)


@pytest.fixture(scope="session")
def network(artifact: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in artifact.iterdir()}


@pytest.fixture
def run(network: Mapping[str, bytes]) -> Run:
    """A run with one worker, which is interrupted before the part number `ends_before`."""

    def run(
        config: ClusterConfig, model: str = "landmarks/1", ends_before: int | None = None
    ) -> ClusterResult:
        return tag_photos(config, model, network, OneProcess(ends_before))

    return run
