"""A small library, the network that knows it, and a table in several parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from landmark_ml.config import ClusterConfig
from serving.cluster.tagger import Network, tag_photos
from tests.serving.cluster.one_process import OneProcess
from tests.serving.tagging.conftest import write_library

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_library(tmp_path / "photos")


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> ClusterConfig:
    return ClusterConfig(photos=str(photos), out=str(tmp_path / "out"), part_photos=2)


@pytest.fixture(scope="session")
def network(artifact: Path) -> Network:
    files = {path.name: path.read_bytes() for path in artifact.iterdir()}
    return Network(files, "landmarks/1")


@pytest.fixture
def recognised(network: Network) -> Any:
    """How many photos a run recognises."""

    def run(config: ClusterConfig, network: Network = network) -> int:
        return tag_photos(config, network, OneProcess()).recognised

    return run
