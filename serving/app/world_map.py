"""The outline of all land as an SVG path, drawn from the mask of the package global-land-mask."""

from __future__ import annotations

import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

import numpy as np
from contourpy import contour_generator
from numpy.lib import format as npy
from tqdm.auto import trange

from landmark_ml.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PACKAGE = "global-land-mask"
_CELLS = 90
"""Cells of the mask, 1/120 degree each, that become one of ours."""
_SAMPLED = 6
_NORTH, _SOUTH = 84.0, -58.0
_SMALLEST = 1.0
"""Square degrees of the smallest island drawn; a pin covers it."""
_DRAWING = 1
"""Raise it when the map of the same package changes."""


def world_outline(cache: Path) -> str:
    """Path data in degrees, x = longitude + 180 and y = 90 - latitude; holes by even-odd filling.

    Drawn once and kept in the folder `cache`. Raises ValueError without the package.
    """
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError:
        raise ValueError(f"{_PACKAGE} is missing; pip install {_PACKAGE}") from None
    path = cache / f"world-{package.version}-{_DRAWING}.txt"
    if not path.is_file():
        (mask,) = [file for file in package.files or () if file.suffix == ".npz"]
        outline = _draw(_land_share(str(mask.locate())))
        write_whole(path, outline.encode("ascii"))
    return path.read_text(encoding="ascii")


def _land_share(archive: str) -> NDArray[np.float64]:
    """Share of land of each coarse cell, from north to south and from -180 to 180 degrees.

    Read row by row: the mask as a whole, which importing the package loads, takes 930 MB.
    """
    rows = []
    with zipfile.ZipFile(archive) as files, files.open("mask.npy") as file:
        npy.read_magic(file)
        (height, width), _, _ = npy.read_array_header_1_0(file)
        for _ in trange(height // _CELLS, desc="drawing the map", delay=1):
            cells = np.frombuffer(file.read(_CELLS * width), dtype=np.uint8)
            some = cells.reshape(_CELLS, -1, _CELLS)[::_SAMPLED, :, ::_SAMPLED]
            rows.append(some.mean(axis=(0, 2)))
    # The mask is of the sea.
    return 1 - np.stack(rows)


def _draw(land: NDArray[np.float64]) -> str:
    degrees = 180 / len(land)
    latitudes = 90 - degrees * (np.arange(len(land)) + 0.5)
    kept = (latitudes < _NORTH) & (latitudes > _SOUTH)
    # Sea all around closes every outline.
    framed = np.pad(land[kept], 1)
    x = degrees * (np.arange(framed.shape[1]) - 0.5)
    y = 90 - latitudes[kept][0] + degrees * (np.arange(len(framed)) - 1)
    lines = contour_generator(x, y, framed).lines(0.5)
    return "".join(
        _closed(np.asarray(line)) for line in lines if _area(np.asarray(line)) > _SMALLEST
    )


def _area(line: NDArray[np.float64]) -> float:
    x, y = line[:, 0], line[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def _closed(line: NDArray[np.float64]) -> str:
    points = [f"{x:.1f} {y:.1f}" for x, y in np.clip(line, 0, 360)]
    unique = [
        point for point, before in zip(points, ["", *points], strict=False) if point != before
    ]
    return "M" + "L".join(unique) + "Z"
