"""Ancient stone landmarks of the postcards: three pyramids and a ring of standing stones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landmark_ml.data.postcards.pen import Colour, Pen

SARSEN: Colour = (146, 142, 132)
LIMESTONE: Colour = (214, 178, 118)


def pyramids_of_giza(pen: Pen) -> None:
    """Draw the three pyramids with lit and shaded sides, one still wearing its casing."""
    turn = pen.view.turn
    for x, half, top in ((-1.5, 0.16, 0.16), (-1.2, 0.14, 0.14)):
        _pyramid(pen, x - 0.1 * turn, half, top, cap=False)
    _pyramid(pen, -0.75 + 0.25 * turn, 0.4, 0.5, cap=False)
    _pyramid(pen, 0.05 + 0.1 * turn, 0.78, 1.0, cap=True)
    _pyramid(pen, 0.95 - 0.3 * turn, 0.74, 0.93, cap=False)


def _pyramid(pen: Pen, x: float, half: float, top: float, *, cap: bool) -> None:
    corner = x + half * (0.25 + 0.4 * pen.view.turn)
    pen.polygon([(x - half, 0.02), (corner, -0.03), (x, top)], LIMESTONE, -1)
    pen.polygon([(corner, -0.03), (x + half, 0.03), (x, top)], LIMESTONE, 1)
    for i in range(1, 14):
        y = i / 14
        left, middle, right = (e + (x - e) * y for e in (x - half, corner, x + half))
        pen.line(
            [(left, top * y + 0.01), (middle, top * y - 0.03 * (1 - y)), (right, top * y + 0.01)],
            (178, 144, 92),
            0.004,
        )
    if cap:
        low = top * 0.76
        edge, mid = half * 0.24, (corner - x) * 0.24
        jag = [(x + mid * 0.4, low + 0.03), (x + edge * 0.6, low + 0.02), (x + edge, low)]
        pen.polygon(
            [(x - edge, low), (x - edge * 0.4, low + 0.025), (x + mid * 0.4, low - 0.01), (x, top)],
            (236, 214, 170),
            -1,
        )
        pen.polygon([*jag, (x, top)], (236, 214, 170), 1)


def stonehenge(pen: Pen) -> None:
    """Draw the ring of standing stones as seen from one side, the far stones first."""
    stones = 18
    start = pen.view.turn * math.pi
    angles = sorted(
        (start + 2 * math.pi * i / stones for i in range(stones)), key=lambda a: -math.sin(a)
    )
    standing = pen.rng.uniform(size=stones) < 0.86
    for angle, up in zip(angles, standing, strict=True):
        near = 1.0 - 0.28 * math.sin(angle)
        if up or math.sin(angle) > 0.2:
            _trilithon(pen, angle, near, lintel=bool(pen.rng.uniform() < 0.72))
        if abs(math.sin(angle)) < 0.12:
            _great_trilithon(pen, 0.42 * math.cos(angle))
    for x in pen.rng.uniform(-1.3, 1.3, 4):
        pen.polygon(
            [(x - 0.14, -0.14), (x + 0.13, -0.15), (x + 0.1, -0.05), (x - 0.1, -0.06)], SARSEN
        )


def _trilithon(pen: Pen, angle: float, near: float, *, lintel: bool) -> None:
    x, foot = 1.25 * math.cos(angle) * near, 0.1 - 0.34 * (near - 0.72)
    wide, top = 0.105 * near, foot + 0.56 * near
    dent = pen.rng.uniform(-0.02, 0.02, 4)
    right_edge = [(x + wide, foot), (x + wide * 0.86 + dent[0], top + dent[1])]
    pen.polygon([(x - wide, foot), *right_edge, (x - wide * 0.86 + dent[2], top)], SARSEN, -0.5)
    pen.polygon([(x + wide * 0.3, foot), *right_edge, (x + wide * 0.25, top)], SARSEN, 0.9)
    pen.line([(x - wide * 0.4, foot), (x - wide * 0.3 + dent[3], top)], (112, 108, 100), 0.008)
    if lintel:
        outward = math.copysign(1, math.cos(angle))
        step = 0.45 * near * outward * (0.35 + 0.65 * abs(math.sin(angle)))
        left, right = sorted((x - wide * outward, x + step))
        under = [(left, top), (right, top + dent[0])]
        over = [(right, top + 0.13 * near), (left, top + 0.12 * near)]
        pen.polygon([*under, *over], SARSEN, 0.3 * math.cos(angle))


def _great_trilithon(pen: Pen, x: float) -> None:
    for shift in (-0.17, 0.17):
        pen.polygon(
            [
                (x + shift - 0.1, 0.02),
                (x + shift + 0.1, 0.02),
                (x + shift + 0.085, 0.84),
                (x + shift - 0.09, 0.84),
            ],
            SARSEN,
            0.5 * shift / 0.17,
        )
    pen.polygon(
        [(x - 0.29, 0.84), (x + 0.28, 0.84), (x + 0.27, 0.99), (x - 0.28, 1.0)], SARSEN, 0.1
    )
