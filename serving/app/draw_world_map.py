"""Draw the outline of all land that the page shows: `python -m serving.app.draw_world_map`.

Run it to change `serving/static/world.txt`. It needs `pip install global-land-mask contourpy`,
which the project itself does without, and about 2 GB of memory. The mask is made from the public
GLOBE elevation data. The outline is SVG path data in degrees, x = longitude + 180 and
y = 90 - latitude, to be filled by the even-odd rule.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OUTLINE = Path(__file__).resolve().parents[1] / "static" / "world.txt"
_CELL = 0.75
"""Degrees of a cell of the grid; its share of land is measured at _SAMPLES x _SAMPLES points."""
_SAMPLES = 15
_NORTH, _SOUTH = 84.0, -58.0
_SMALLEST = 1.0
"""Square degrees of the smallest island drawn; a pin covers smaller ones."""


def draw() -> str:
    """Outline the cells of which at least half is land."""
    is_land = importlib.import_module("global_land_mask").globe.is_land
    contour_generator = importlib.import_module("contourpy").contour_generator
    latitudes = np.arange(90 - _CELL / 2, -90, -_CELL)
    latitudes = latitudes[(latitudes < _NORTH) & (latitudes > _SOUTH)]
    longitudes = np.arange(-180 + _CELL / 2, 180, _CELL)
    offsets = _CELL * ((np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5)
    across = (longitudes[:, None] + offsets).ravel()
    rows = [
        is_land(*np.meshgrid(latitude + offsets, across, indexing="ij"))
        .reshape(_SAMPLES, len(longitudes), _SAMPLES)
        .mean(axis=(0, 2))
        for latitude in latitudes
    ]
    # A frame of sea closes every outline.
    land = np.pad(np.stack(rows), 1)
    x = 180 + longitudes[0] + _CELL * (np.arange(land.shape[1]) - 1)
    y = 90 - latitudes[0] + _CELL * (np.arange(land.shape[0]) - 1)
    lines = map(np.asarray, contour_generator(x, y, land).lines(0.5))
    return "".join(_path(line) for line in lines if _area(line) > _SMALLEST)


def _area(line: NDArray[np.float64]) -> float:
    x, y = line.T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def _path(line: NDArray[np.float64]) -> str:
    points = [f"{x:.1f} {y:.1f}" for x, y in np.clip(line, 0, 360)]
    kept = [point for point, before in zip(points, ["", *points], strict=False) if point != before]
    return "M" + "L".join(kept) + "Z\n"


if __name__ == "__main__":
    OUTLINE.write_text(draw(), encoding="ascii")
