"""Upright landmarks of the postcards: two towers, a leaning one and two statues."""

from __future__ import annotations

import itertools
import math

from landmark_ml.data.postcards.pen import Colour, Pen, arc, bezier

IRON: Colour = (118, 92, 70)
GOLD_STONE: Colour = (206, 172, 112)
SLATE: Colour = (84, 88, 92)
GILT: Colour = (222, 184, 84)
MARBLE: Colour = (236, 230, 214)
COPPER: Colour = (112, 172, 150)
GRANITE: Colour = (196, 180, 156)
SOAPSTONE: Colour = (214, 212, 202)
JUNGLE: Colour = (58, 92, 54)
SHADOW: Colour = (58, 52, 48)
DIAL: Colour = (250, 247, 232)


def big_ben(pen: Pen) -> None:
    """Draw the Elizabeth Tower with a wing of the palace at its foot."""
    _palace_wing(pen)
    pen.box(-0.085, 0, 0.03, 0.62, GOLD_STONE, -0.3)
    pen.box(0.03, 0, 0.085, 0.62, GOLD_STONE, 0.9)
    for x in (-0.085, -0.055, -0.026, 0.003, 0.03, 0.058, 0.083):
        pen.line([(x, 0), (x, 0.62)], (150, 118, 70), 0.006)
    for y in (0.1, 0.2, 0.3, 0.4, 0.5, 0.58):
        pen.line([(-0.088, y), (0.088, y)], (164, 130, 80), 0.009)
    pen.box(-0.098, 0.6, 0.098, 0.755, GOLD_STONE)
    pen.line([(-0.104, 0.755), (0.104, 0.755)], GILT, 0.012)
    pen.line([(-0.104, 0.602), (0.104, 0.602)], GILT, 0.01)
    _clock(pen)
    for x in (-0.07, -0.035, 0.0, 0.035, 0.07):
        pen.glow([(x - 0.012, 0.765), (x + 0.012, 0.765), (x + 0.012, 0.8), (x, 0.812)], SHADOW)
    pen.box(-0.088, 0.757, 0.088, 0.765, GOLD_STONE)
    pen.polygon([(-0.095, 0.812), (0.095, 0.812), (0.046, 0.885), (-0.046, 0.885)], SLATE)
    pen.polygon([(0.03, 0.812), (0.095, 0.812), (0.046, 0.885), (0.018, 0.885)], SLATE, 0.9)
    pen.box(-0.04, 0.885, 0.04, 0.915, GILT)
    pen.polygon([(-0.05, 0.913), (0.05, 0.913), (0.0, 0.99)], SLATE)
    pen.line([(0, 0.985), (0, 1.02)], GILT, 0.008)
    for x in (-0.095, 0.095):
        pen.polygon([(x - 0.012, 0.755), (x + 0.012, 0.755), (x, 0.84)], GOLD_STONE)


def _clock(pen: Pen) -> None:
    if pen.light.night:
        pen.glow(arc((0, 0.678), (0.068, 0.068)), DIAL)
    else:
        pen.disc((0, 0.678), (0.074, 0.074), (66, 62, 70))
        pen.disc((0, 0.678), (0.066, 0.066), DIAL)
    for i in range(12):
        a = math.radians(30 * i)
        x, y = math.sin(a), math.cos(a)
        pen.line([(0.05 * x, 0.678 + 0.05 * y), (0.062 * x, 0.678 + 0.062 * y)], SHADOW, 0.006)
    for length, angle in zip((0.038, 0.056), pen.rng.uniform(0, 2 * math.pi, 2), strict=True):
        tip = (length * math.sin(angle), 0.678 + length * math.cos(angle))
        pen.line([(0, 0.678), tip], (30, 30, 40), 0.009)


def _palace_wing(pen: Pen) -> None:
    length = 0.35 + 0.5 * abs(pen.view.turn)
    pen.box(0.06, 0, length, 0.23, GOLD_STONE, 0.5)
    pen.polygon([(0.06, 0.23), (length, 0.23), (length, 0.26), (0.08, 0.27)], SLATE)
    for i in range(int((length - 0.1) / 0.07)):
        x = 0.12 + 0.07 * i
        for low in (0.03, 0.12):
            pen.glow([(x, low), (x + 0.03, low), (x + 0.03, low + 0.06), (x, low + 0.06)], SHADOW)
        pen.polygon([(x - 0.028, 0.22), (x - 0.012, 0.22), (x - 0.02, 0.3)], GOLD_STONE)


def eiffel_tower(pen: Pen) -> None:
    """Draw the iron tower: curved legs, arch, three platforms, lattice and antenna."""
    for low, high in ((0.0, 0.17), (0.185, 0.345)):
        levels = [low + (high - low) * i / 3 for i in range(4)]
        for sign in (-1, 1):
            outer = [(sign * _eiffel_half(y), y) for y in levels]
            inner = [(sign * (_eiffel_half(y) * 0.62 - 0.02 * y), y) for y in levels]
            pen.lattice(outer, inner, IRON, 0.006)
    levels = [0.36 + 0.48 * i / 9 for i in range(10)]
    left, right = ([(s * _eiffel_half(y), y) for y in levels] for s in (-1, 1))
    pen.polygon([*left, *reversed(right)], IRON, 0.4)
    pen.lattice(left, right, (96, 74, 56), 0.005)
    pen.line(arc((0, 0.03), (0.118, 0.115), 8, 172), IRON, 0.014)
    pen.line(arc((0, 0.03), (0.098, 0.097), 12, 168), IRON, 0.005)
    for low, high, half in ((0.163, 0.188, 0.122), (0.342, 0.36, 0.072), (0.832, 0.85, 0.022)):
        pen.box(-half, low, half, high, IRON)
        pen.line([(-half, high), (half, high)], (164, 134, 104), 0.005)
    for sign in (-1, 1):
        pen.box(sign * 0.2 - 0.001, 0, sign * 0.105, 0.022, GRANITE)
    pen.box(-0.012, 0.85, 0.012, 0.885, IRON)
    pen.line([(0, 0.88), (0, 1.0)], IRON, 0.007)


def _eiffel_half(y: float) -> float:
    # A leg's outline follows the wind's moment: its width decays exponentially with height.
    return 0.19 * math.exp(-3.4 * y)


def leaning_tower(pen: Pen) -> None:
    """Draw the leaning tower of Pisa: eight arcaded rings on a tilted axis."""
    lean = 0.1 + 0.04 * pen.view.turn
    tiers = [0.0, 0.19, *(0.19 + 0.111 * i for i in range(1, 7)), 1.0]
    for i, (low, high) in enumerate(itertools.pairwise(tiers)):
        last = i == len(tiers) - 2
        radius = 0.1 if last else 0.137
        centre = lean * low
        pen.cylinder(centre, (low, high), (radius, radius), MARBLE, 7)
        _arcade(pen, centre, (low, high), radius, blind=i == 0)
        pen.line([(centre - radius * 1.06, high), (centre + radius * 1.06, high)], MARBLE, 0.016)
        pen.line([(centre - radius, low), (centre + radius, low)], (150, 142, 126), 0.006)
    for x in (-0.05, 0.03):
        pen.box(lean + x, 1.0, lean + x + 0.025, 1.02, MARBLE)


def _arcade(
    pen: Pen, centre: float, ends: tuple[float, float], radius: float, *, blind: bool
) -> None:
    low, high = ends[0] + 0.012, ends[1] - 0.02
    bays = 7 if blind else 11
    edges = [math.sin(math.pi * (i / bays - 0.5)) for i in range(bays + 1)]
    for near, far in itertools.pairwise(edges):
        left, right = (centre + radius * (e * 0.99) for e in (near * 0.98, far))
        gap = 0.16 * (right - left)
        crown = arc(((left + right) / 2, high - 0.02), ((right - left) / 2 - gap, 0.02), 0, 180)
        bay = [(left + gap, low), (right - gap, low), *crown]
        pen.polygon(bay, (196, 186, 166) if blind else (112, 104, 96), (near + far) / 2)


def statue_of_liberty(pen: Pen) -> None:
    """Draw Liberty on her pedestal: raised torch, crown of rays, tablet and robe."""
    pen.polygon([(-0.26, 0), (0.26, 0), (0.22, 0.085), (-0.22, 0.085)], GRANITE, -0.2)
    pen.polygon([(-0.12, 0.085), (0.12, 0.085), (0.082, 0.43), (-0.082, 0.43)], GRANITE)
    pen.polygon([(0.05, 0.085), (0.12, 0.085), (0.082, 0.43), (0.04, 0.43)], GRANITE, 0.8)
    for y, half in ((0.17, 0.12), (0.33, 0.1), (0.43, 0.1)):
        pen.line([(-half, y), (half, y)], (164, 148, 126), 0.014)
    for x in (-0.045, -0.015, 0.015, 0.045):
        pen.box(x - 0.008, 0.25, x + 0.008, 0.31, SHADOW)
    robe = bezier((-0.085, 0.44), (-0.07, 0.62), (-0.062, 0.765))
    pen.polygon([*robe, (0.0, 0.81), (0.062, 0.77), (0.07, 0.6), (0.085, 0.44)], COPPER, -0.1)
    pen.polygon([(0.03, 0.44), (0.085, 0.44), (0.07, 0.6), (0.062, 0.77), (0.02, 0.7)], COPPER, 0.9)
    for x in (-0.06, -0.03, 0.0, 0.03, 0.06):
        pen.line(bezier((x, 0.445), (x + 0.02, 0.6), (0.3 * x - 0.01, 0.75)), (74, 124, 108), 0.006)
    pen.line([(-0.06, 0.76), (0.0, 0.66), (0.065, 0.6)], (78, 130, 112), 0.012)
    _liberty_arms(pen)
    pen.disc((0.004, 0.825), (0.026, 0.036), COPPER)
    for i in range(7):
        a = math.radians(20 + 140 * i / 6)
        tip = (0.004 + 0.07 * math.cos(a), 0.848 + 0.055 * math.sin(a))
        pen.line([(0.004 + 0.02 * math.cos(a), 0.848), tip], COPPER, 0.008)
    pen.line([(-0.026, 0.848), (0.034, 0.848)], (84, 140, 122), 0.012)


def _liberty_arms(pen: Pen) -> None:
    pen.polygon([(-0.064, 0.74), (-0.028, 0.79), (-0.078, 0.925), (-0.1, 0.915)], COPPER, -0.4)
    pen.line([(-0.092, 0.9), (-0.098, 0.96)], COPPER, 0.014)
    pen.box(-0.12, 0.952, -0.076, 0.964, COPPER)
    pen.polygon([(-0.112, 0.964), (-0.084, 0.964), (-0.088, 0.985), (-0.1, 1.01)], GILT)
    pen.polygon([(0.05, 0.76), (0.075, 0.77), (0.1, 0.68), (0.07, 0.655)], COPPER, 0.6)
    pen.polygon([(0.055, 0.65), (0.105, 0.67), (0.115, 0.75), (0.07, 0.735)], (96, 150, 130), 0.4)


def christ_the_redeemer(pen: Pen) -> None:
    """Draw the statue with open arms on its peak."""
    rise = pen.rng.uniform(-0.03, 0.03, 6)
    slope = [(-0.95, 0.0), (-0.5, 0.13), (-0.24, 0.27), (-0.09, 0.345), (0.09, 0.345)]
    slope += [(0.22, 0.28), (0.42, 0.16), (0.9, 0.0)]
    ridge = [
        (x, y + (r if 0 < y < 0.3 else 0)) for (x, y), r in zip(slope, [*rise, 0, 0], strict=True)
    ]
    pen.polygon(ridge, JUNGLE, -0.2)
    pen.polygon([(0.05, 0.345), *ridge[4:], (0.25, 0.0), (0.1, 0.2)], JUNGLE, 0.8)
    pen.box(-0.075, 0.34, 0.075, 0.36, GRANITE)
    pen.box(-0.04, 0.36, 0.04, 0.43, (150, 142, 132))
    pen.polygon(
        [(-0.05, 0.43), (0.05, 0.43), (0.045, 0.8), (0.06, 0.9), (-0.06, 0.9), (-0.045, 0.8)],
        SOAPSTONE,
        -0.2,
    )
    pen.polygon(
        [(0.018, 0.43), (0.05, 0.43), (0.045, 0.8), (0.06, 0.9), (0.02, 0.88)], SOAPSTONE, 0.9
    )
    for sign in (-1, 1):
        sleeve = [
            (sign * x, y)
            for x, y in ((0.03, 0.915), (0.2, 0.892), (0.215, 0.825), (0.13, 0.82), (0.045, 0.77))
        ]
        pen.polygon(sleeve, SOAPSTONE, 0.5 * sign)
        pen.polygon(
            [(sign * x, y) for x, y in ((0.2, 0.888), (0.285, 0.88), (0.285, 0.862), (0.2, 0.855))],
            SOAPSTONE,
        )
    for x in (-0.03, -0.008, 0.014, 0.034):
        pen.line([(x, 0.435), (0.6 * x, 0.8)], (160, 158, 148), 0.006)
    pen.line([(-0.05, 0.86), (0.03, 0.72), (0.045, 0.6)], (168, 166, 156), 0.01)
    pen.disc((0, 0.952), (0.026, 0.042), SOAPSTONE)
    pen.box(-0.018, 0.9, 0.018, 0.93, SOAPSTONE)
