"""The pen that draws a postcard's subject: its own coordinates, a camera's view and the light."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

Colour = tuple[int, int, int]
Point = tuple[float, float]

WINDOW_GLOW: Colour = (255, 214, 130)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between `a` (share 0) and `b` (share 1)."""
    return (
        int(a[0] + (b[0] - a[0]) * share),
        int(a[1] + (b[1] - a[1]) * share),
        int(a[2] + (b[2] - a[2]) * share),
    )


@dataclass(frozen=True, slots=True)
class Light:
    """Colours of the sky and what they do to a surface; `side` is -1 for sun from the left."""

    zenith: Colour
    horizon: Colour
    tint: tuple[float, float, float]
    side: float
    contrast: float
    night: bool = False
    flood: tuple[float, float, float] | None = None

    def on(self, colour: Colour, face: float = 0.0, *, flooded: bool = False) -> Colour:
        """Shade a surface that faces left (-1), the camera (0) or right (1)."""
        gain = 1.0 + self.contrast * face * self.side
        tint = self.flood if flooded and self.flood else self.tint
        return (
            min(255, int(colour[0] * gain * tint[0])),
            min(255, int(colour[1] * gain * tint[1])),
            min(255, int(colour[2] * gain * tint[2])),
        )


@dataclass(frozen=True, slots=True)
class View:
    """Where the subject stands in pixels and how the camera sees it.

    A point (x, y) of the subject is seen in one-point perspective: `foreshortening` makes one
    side recede towards the horizon at height `eye`, `keystone` makes the top recede.
    """

    x: float
    horizon: float
    scale: float
    eye: float
    foreshortening: float = 0.0
    keystone: float = 0.0
    stretch: float = 1.0
    mirrored: bool = False
    turn: float = 0.0

    @property
    def base(self) -> float:
        """Pixel row on which the subject's axis meets the ground."""
        return self.horizon + self.scale * self.eye

    def place(self, x: float, y: float) -> Point:
        """Pixel at which the subject's point (x, y) is seen."""
        across = -x if self.mirrored else x
        depth = max(0.35, 1.0 + self.foreshortening * across + self.keystone * y)
        return (
            self.x + self.scale * self.stretch * across / depth,
            self.horizon - self.scale * (y - self.eye) / depth,
        )


def arc(centre: Point, radii: Point, start: float = 0.0, end: float = 360.0) -> list[Point]:
    """Points on an ellipse, degrees counted from the right and upwards."""
    steps = max(6, round(abs(end - start) / 18))
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return [
        (centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles
    ]


def bezier(start: Point, bend: Point, end: Point, steps: int = 9) -> list[Point]:
    """Points on a quadratic Bézier curve."""
    ratios = [i / steps for i in range(steps + 1)]
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * bend[0] + t * t * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * bend[1] + t * t * end[1],
        )
        for t in ratios
    ]


class Pen:
    """Draws shapes given in the subject's coordinates (height 1, y up) on a transparent layer."""

    def __init__(
        self, size: tuple[int, int], view: View, light: Light, rng: np.random.Generator
    ) -> None:
        self.layer = Image.new("RGBA", size)
        self.view = view
        self.light = light
        self.rng = rng
        self._draw = ImageDraw.Draw(self.layer)

    def polygon(
        self, points: Iterable[Point], colour: Colour, face: float = 0.0, *, alpha: int = 255
    ) -> None:
        """Fill a polygon, shaded for the way it faces."""
        fill = (*self.light.on(colour, face, flooded=True), alpha)
        self._draw.polygon([self.view.place(x, y) for x, y in points], fill=fill)

    def box(
        self,
        left: float,
        bottom: float,
        right: float,
        top: float,
        colour: Colour,
        face: float = 0.0,
    ) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, face)

    def glow(self, points: Iterable[Point], dark: Colour) -> None:
        """Fill an opening: dark by day, lit from inside at night."""
        colour = WINDOW_GLOW if self.light.night else self.light.on(dark)
        self._draw.polygon([self.view.place(x, y) for x, y in points], fill=(*colour, 255))

    def line(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        """Stroke a line; `width` in units of the subject's height, one pixel at least."""
        fill = (*self.light.on(colour, flooded=True), 255)
        pixels = max(1, round(width * self.view.scale))
        self._draw.line([self.view.place(x, y) for x, y in points], fill=fill, width=pixels)

    def disc(self, centre: Point, radii: Point, colour: Colour, face: float = 0.0) -> None:
        """Fill an ellipse."""
        self.polygon(arc(centre, radii), colour, face)

    def cylinder(
        self, x: float, ends: Point, radii: Point, colour: Colour, strips: int = 5
    ) -> None:
        """Fill an upright cylinder or cone between two heights, shaded round its side."""
        edges = [math.sin(math.pi * (i / strips - 0.5)) for i in range(strips + 1)]
        (bottom, top), (low, high) = ends, radii
        for near, far in itertools.pairwise(edges):
            quad = [(near, low, bottom), (far, low, bottom), (far, high, top), (near, high, top)]
            self.polygon([(x + e * r, y) for e, r, y in quad], colour, (near + far) / 2)

    def lattice(
        self, left: Sequence[Point], right: Sequence[Point], colour: Colour, width: float
    ) -> None:
        """Fill the strip between two edges with see-through crossed girders."""
        self.polygon([*left, *reversed(right)], colour, alpha=150)
        for i in range(len(left) - 1):
            self.line([left[i], right[i + 1]], colour, width)
            self.line([right[i], left[i + 1]], colour, width)
            self.line([left[i], right[i]], colour, width)
        self.line(left, colour, width * 1.6)
        self.line(right, colour, width * 1.6)
