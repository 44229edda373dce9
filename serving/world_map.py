"""The app's map of the world with pins, as a picture that needs neither script nor server."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from landmark_ml.figures.html import render

_HEIGHT = 0.45
"""Of a map whose width is 1."""
_MOST_NAMED = 60
"""Only the first pins get a name."""


class Pin(NamedTuple):
    """A name at a position in WGS84 degrees; href: where a click on it leads."""

    name: str
    latitude: float
    longitude: float
    href: str = ""


def world_map(pins: Sequence[Pin], label: str, narrowest: float = 60.0) -> str:
    """SVG of one pin or more and what lies around them; names stand where they cover nothing.

    label: what a screen reader says. narrowest: degrees of longitude that are shown at least.
    """
    south, north = (f(pin.latitude for pin in pins) for f in (min, max))
    west, east = (f(pin.longitude for pin in pins) for f in (min, max))
    # A degree of longitude is as long as it is there.
    shrink = math.cos(math.radians((south + north) / 2))
    width = max(narrowest * shrink, (east - west) * shrink * 1.2, (north - south) * 1.2 / _HEIGHT)
    # No more than the world, which ends at 180 degrees.
    width = min(width, 360 * shrink)
    height = width * _HEIGHT
    left = min(max((west + east) / 2 * shrink - width / 2, -180 * shrink), 180 * shrink - width)
    top = min(max(-(south + north) / 2 - height / 2, -90), 90 - height)
    size = width / 65
    points = [(pin, pin.longitude * shrink, -pin.latitude) for pin in pins]
    # What a name may not cover, each from one x to another at one y.
    taken = [(x, x, y) for _, x, y in points]
    named = set()
    for pin, x, y in points[:_MOST_NAMED]:
        start, end = x + size / 2, x + size * (1 + 0.6 * len(pin.name))
        if end < left + width and not any(
            start < high + size / 2 and low - size / 2 < end and abs(y - at) < size
            for low, high, at in taken
            if (low, at) != (x, y)
        ):
            named.add(pin)
            taken.append((start, end, y))
    return render(
        "map.svg",
        box=f"{left:.2f} {top:.2f} {width:.2f} {height:.2f}",
        label=label,
        pins=points,
        named=named,
        size=size,
        shrink=shrink,
        land=_outline(),
    )


@functools.cache
def _outline() -> str:
    return resources.files("serving").joinpath("static/world.txt").read_text(encoding="utf-8")
