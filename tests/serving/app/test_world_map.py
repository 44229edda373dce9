"""The map: outlines of land from the mask of a package, drawn once."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.app import world_map

if TYPE_CHECKING:
    from pathlib import Path

SCALE = 12


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose mask, of 12 cells a degree, has one island: 20 to 40 N, 10 to 50 E."""
    sea = np.ones((180 * SCALE, 360 * SCALE), dtype=bool)
    sea[50 * SCALE : 70 * SCALE, 190 * SCALE : 230 * SCALE] = False
    path = tmp_path / "mask.npz"
    np.savez_compressed(path, mask=sea)
    file = type("File", (PurePosixPath,), {"locate": lambda _: path})("mask.npz")
    fake = SimpleNamespace(version="1.2", files=[file])
    monkeypatch.setattr(world_map, "distribution", lambda _: fake)
    monkeypatch.setattr(world_map, "_CELLS", SCALE)
    return path


def test_land_is_outlined_where_it_lies(package: Path, tmp_path: Path) -> None:
    outline = world_map.world_outline(tmp_path)
    assert re.fullmatch(r"M[\d. L]+Z", outline)
    points = np.array([pair.split() for pair in re.split("[MLZ]", outline) if pair], dtype=float)
    assert points.min(axis=0) == pytest.approx([190, 50], abs=0.11)
    assert points.max(axis=0) == pytest.approx([230, 70], abs=0.11)


def test_the_map_is_drawn_once(package: Path, tmp_path: Path) -> None:
    first = world_map.world_outline(tmp_path)
    package.unlink()
    assert world_map.world_outline(tmp_path) == first


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(world_map, "distribution", missing)
    with pytest.raises(ValueError, match="pip install global-land-mask"):
        world_map.world_outline(tmp_path)
