"""The pen that draws a postcard's subject: its own coordinates, a camera's view and the light."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import numpy as np

Colour = tuple[int, int, int]
Point = tuple[float, float]
T = TypeVar("T")

WINDOW_GLOW: Colour = (255, 214, 130)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of some options at random."""
    return options[int(rng.integers(len(options)))]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between `a` (share 0) and `b` (share 1)."""
    red, green, blue = (int(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


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
        red, green, blue = (min(255, int(c * gain * t)) for c, t in zip(colour, tint, strict=True))
        return red, green, blue


@dataclass(frozen=True, slots=True)
class View:
    """Where the subject stands in pixels and how the camera sees it.

    A point (x, y) of the subject is seen in one-point perspective: `foreshortening` makes one
    side recede towards the horizon at height `eye`, `keystone` makes the top recede. `turn` from
    -1 to 1 says how far round the subject the camera stands.
    """

    x: float
    horizon: float
    scale: float
    eye: float
    foreshortening: float
    keystone: float
    stretch: float
    mirrored: bool
    turn: float

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


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to draw: its width in heights, the ground it stands on, what may be centred."""

    draw: Callable[[Pen], None]
    width: float
    grounds: tuple[str, ...]
    focus: tuple[float, ...] = (0.0,)
    mirrors: bool = True


def arc(centre: Point, radii: Point, start: float = 0.0, end: float = 360.0) -> list[Point]:
    """Points on an ellipse, degrees counted from the right and upwards."""
    steps = max(6, round(abs(end - start) / 18))
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    (x, y), (wide, tall) = centre, radii
    return [(x + wide * math.cos(a), y + tall * math.sin(a)) for a in angles]


def bezier(start: Point, bend: Point, end: Point, steps: int = 9) -> list[Point]:
    """Points on a quadratic Bézier curve."""

    def between(t: float, a: float, b: float, c: float) -> float:
        return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c

    ratios = [i / steps for i in range(steps + 1)]
    x, y = zip(start, bend, end, strict=True)
    return [(between(t, *x), between(t, *y)) for t in ratios]


class Pen:
    """Draws shapes given in the subject's coordinates (height 1, y up) on a transparent layer.

    colour is that of the surface by day; face says which way it faces, see `Light.on`.
    """

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
        """Fill a polygon."""
        fill = (*self.light.on(colour, face, flooded=True), alpha)
        self._draw.polygon([self.view.place(x, y) for x, y in points], fill=fill)

    def box(
        self, left: float, bottom: float, right: float, top: float, colour: Colour, face: float = 0
    ) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, face)

    def taper(self, x: float, ends: Point, halves: Point, colour: Colour, face: float = 0) -> None:
        """Fill a trapezium about x between two heights, half as wide as `halves` at each."""
        (bottom, top), (low, high) = ends, halves
        quad = [(x - low, bottom), (x + low, bottom), (x + high, top), (x - high, top)]
        self.polygon(quad, colour, face)

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

    def onion_dome(self, x: float, ends: Point, radius: float, colour: Colour) -> None:
        """Fill a dome between two heights, shaded in upright slices."""
        low, tall = ends[0], ends[1] - ends[0]
        profile = [(0.84, 0.0), (0.97, 0.14), (1.0, 0.3), (0.92, 0.5)]
        profile += [(0.7, 0.7), (0.36, 0.86), (0.1, 0.96), (0.0, 1.0)]
        for near, far in itertools.pairwise((-1.0, -0.7, -0.2, 0.3, 0.75, 1.0)):
            up = [(x + near * radius * r, low + tall * y) for r, y in profile]
            down = [(x + far * radius * r, low + tall * y) for r, y in reversed(profile)]
            self.polygon([*up, *down], colour, (near + far) / 2)

    def glow(self, points: Iterable[Point], dark: Colour) -> None:
        """Fill an opening: dark by day, lit from inside at night."""
        colour = WINDOW_GLOW if self.light.night else self.light.on(dark)
        self._draw.polygon([self.view.place(x, y) for x, y in points], fill=(*colour, 255))

    def window(self, x: float, y: float, wide: float, tall: float, dark: Colour) -> None:
        """Fill a rectangular opening, x and y its lower left corner."""
        self.glow([(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)], dark)

    def line(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        """Stroke a line; `width` in units of the subject's height, one pixel at least."""
        fill = (*self.light.on(colour, flooded=True), 255)
        pixels = max(1, round(width * self.view.scale))
        self._draw.line([self.view.place(x, y) for x, y in points], fill=fill, width=pixels)

    def lattice(
        self, left: Sequence[Point], right: Sequence[Point], colour: Colour, width: float
    ) -> None:
        """Fill the strip between two edges with see-through crossed girders."""
        self.polygon([*left, *reversed(right)], colour, alpha=150)
        for i in range(len(left) - 1):
            for rod in ((left[i], right[i + 1]), (right[i], left[i + 1]), (left[i], right[i])):
                self.line(rod, colour, width)
        self.line(left, colour, width * 1.6)
        self.line(right, colour, width * 1.6)
