"""Domed and vaulted landmarks of the postcards: a mausoleum and an opera house."""

from __future__ import annotations

import itertools

from landmark_ml.data.postcards.pen import Colour, Pen, Point, bezier

MARBLE: Colour = (240, 236, 226)
VEIN: Colour = (196, 188, 172)
GILT: Colour = (214, 178, 90)
SHELL: Colour = (244, 240, 230)
GLASS: Colour = (92, 76, 66)
PODIUM: Colour = (176, 142, 122)
SHADOW: Colour = (96, 88, 84)


def taj_mahal(pen: Pen) -> None:
    """Draw the mausoleum: plinth, iwan arches, onion dome, four kiosks and four minarets."""
    for x, height in ((-0.72, 0.6), (0.72, 0.6), (-0.92, 0.7), (0.92, 0.7)):
        _minaret(pen, x, height)
    pen.box(-1.05, 0, 1.05, 0.05, (206, 150, 118), -0.1)
    pen.box(-0.98, 0.05, 0.98, 0.12, MARBLE, -0.1)
    pen.box(-0.18, 0.5, 0.18, 0.6, MARBLE)
    dome(pen, 0.0, (0.59, 0.94), 0.21, MARBLE)
    pen.line([(0, 0.92), (0, 1.02)], GILT, 0.01)
    for x in (-0.29, 0.29):
        pen.box(x - 0.05, 0.5, x + 0.05, 0.57, VEIN)
        dome(pen, x, (0.57, 0.68), 0.07, MARBLE)
        pen.line([(x, 0.67), (x, 0.71)], GILT, 0.007)
    pen.polygon([(-0.47, 0.12), (-0.36, 0.12), (-0.36, 0.5), (-0.47, 0.5)], MARBLE, -0.9)
    pen.box(-0.37, 0.12, 0.37, 0.5, MARBLE)
    pen.polygon([(0.36, 0.12), (0.47, 0.12), (0.47, 0.5), (0.36, 0.5)], MARBLE, 0.9)
    pen.box(-0.165, 0.12, 0.165, 0.56, MARBLE)
    pen.line([(-0.15, 0.12), (-0.15, 0.54), (0.15, 0.54), (0.15, 0.12)], VEIN, 0.012)
    _iwan(pen, 0.0, (0.12, 0.49), 0.11)
    for x in (-0.415, -0.265, 0.265, 0.415):
        for low in (0.13, 0.32):
            _iwan(pen, x, (low, low + 0.15), 0.045 if abs(x) < 0.3 else 0.03)
    pen.line([(-0.47, 0.5), (0.47, 0.5)], VEIN, 0.012)


def dome(pen: Pen, x: float, ends: Point, radius: float, colour: Colour) -> None:
    """Draw an onion dome shaded in upright slices."""
    low, high = ends
    tall = high - low
    profile = (
        (0.84, 0.0),
        (0.97, 0.14),
        (1.0, 0.3),
        (0.92, 0.5),
        (0.7, 0.7),
        (0.36, 0.86),
        (0.1, 0.96),
        (0.0, 1.0),
    )
    slices = (-1.0, -0.7, -0.2, 0.3, 0.75, 1.0)
    for near, far in itertools.pairwise(slices):
        up = [(x + near * radius * r, low + tall * y) for r, y in profile]
        down = [(x + far * radius * r, low + tall * y) for r, y in reversed(profile)]
        pen.polygon([*up, *down], colour, (near + far) / 2)


def _iwan(pen: Pen, x: float, ends: Point, half: float) -> None:
    low, high = ends
    spring = low + (high - low) * 0.66
    left = bezier((x - half, spring), (x - half * 0.9, high - half * 0.4), (x, high), 5)
    right = bezier((x, high), (x + half * 0.9, high - half * 0.4), (x + half, spring), 5)
    pen.glow([(x - half, low), *left, *right, (x + half, low)], (150, 142, 136))
    pen.polygon(
        [
            (x - half * 0.35, low),
            (x + half * 0.35, low),
            (x + half * 0.35, spring),
            (x, spring + half * 0.5),
            (x - half * 0.35, spring),
        ],
        SHADOW,
    )


def _minaret(pen: Pen, x: float, height: float) -> None:
    pen.cylinder(x, (0.05, height), (0.036, 0.026), MARBLE, 3)
    for share in (0.4, 0.7, 1.0):
        y = 0.05 + (height - 0.05) * share
        pen.box(x - 0.042, y - 0.008, x + 0.042, y + 0.008, MARBLE)
    pen.box(x - 0.02, height, x + 0.02, height + 0.04, VEIN)
    dome(pen, x, (height + 0.04, height + 0.1), 0.032, MARBLE)


def sydney_opera_house(pen: Pen) -> None:
    """Draw the opera house: two rows of overlapping shells on a podium by the water."""
    pen.polygon([(-1.2, -0.02), (1.25, -0.02), (1.2, 0.13), (-1.12, 0.13)], PODIUM, -0.2)
    pen.polygon([(-1.12, 0.13), (1.2, 0.13), (1.12, 0.2), (-0.98, 0.2)], (206, 176, 154))
    for i in range(24):
        x = -1.1 + 0.095 * i
        pen.glow([(x, 0.04), (x + 0.05, 0.04), (x + 0.05, 0.07), (x, 0.07)], GLASS)
    spread = 1.0 + 0.12 * pen.view.turn
    rear = ((0.62, 0.56, 0.52), (0.3, 0.62, 0.66), (-0.02, 0.5, 0.5))
    for x, wide, top in rear:
        _shell(pen, x * spread + 0.08, wide * 0.8, top, face=0.5)
    _shell(pen, -0.98 * spread, -0.4, 0.46, face=-0.6)
    for x, wide, top in ((-0.52, 0.8, 0.98), (-0.16, 0.66, 0.76), (0.16, 0.5, 0.53)):
        _shell(pen, x * spread, wide, top, face=-0.2)
    _shell(pen, 0.98 * spread, 0.3, 0.36, face=0.6)


def _shell(pen: Pen, x: float, wide: float, top: float, *, face: float) -> None:
    """One sail; a positive width leans left with its mouth on the left."""
    peak = (x - 0.42 * wide, top)
    heel = (x + 0.6 * wide, 0.19)
    toe = (x - 0.12 * wide, 0.19)
    back = bezier(heel, (x + 0.42 * wide, top * 0.82), peak)
    mouth = bezier(peak, (x - 0.1 * wide, top * 0.62), toe)
    pen.polygon(
        [*back, *bezier(peak, (x - 0.36 * wide, top * 0.5), (x - 0.36 * wide, 0.19)), toe], GLASS
    )
    pen.polygon([*back, *mouth], SHELL, face)
    pen.polygon([*mouth, *bezier(toe, (x + 0.1 * wide, top * 0.55), peak)], SHELL, face - 0.5)
    for share in (0.25, 0.5, 0.75):
        foot = (toe[0] + (heel[0] - toe[0]) * share, 0.19)
        bend = (x + (share * 0.45 - 0.02) * wide, top * (0.6 + 0.2 * share))
        pen.line(bezier(foot, bend, peak), (206, 200, 188), 0.006)
