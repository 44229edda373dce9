"""Broad landmarks of the postcards: a bridge, a gate and a temple."""

from __future__ import annotations

import itertools

from landmark_ml.data.postcards.pen import Colour, Pen, Point, bezier, mix

ORANGE: Colour = (196, 74, 48)
VERMILION: Colour = (214, 82, 44)
CONCRETE: Colour = (176, 168, 156)
PENTELIC: Colour = (224, 204, 164)
SHADOW: Colour = (70, 62, 58)


def golden_gate_bridge(pen: Pen) -> None:
    """Draw the red bridge: stepped towers with struts, parabolic cable, hangers and deck."""
    deck, towers = 0.27, (-0.95, 0.95)
    for offset in (0.0, 0.025):
        _cables(pen, deck, offset)
    pen.box(-1.9, deck - 0.035, 1.9, deck, ORANGE)
    for i in range(38):
        x = -1.9 + 0.1 * i
        pen.line(
            [(x, deck - 0.03), (x + 0.05, deck - 0.005), (x + 0.1, deck - 0.03)],
            (120, 44, 32),
            0.006,
        )
    for x in towers:
        pen.box(x - 0.13, -0.05, x + 0.13, 0.05, CONCRETE)
        _bridge_tower(pen, x)


def _cables(pen: Pen, deck: float, lift: float) -> None:
    def height(x: float) -> float:
        if abs(x) <= 0.95:
            return deck + 0.03 + 0.69 * (x / 0.95) ** 2
        return deck + 0.72 * ((1.85 - abs(x)) / 0.9) ** 1.15 if abs(x) < 1.85 else deck

    places = [-1.85 + 3.7 * i / 74 for i in range(75)]
    for x in places[1::2] if lift == 0.0 else ():
        pen.line([(x, deck), (x, height(x))], (168, 78, 60), 0.004)
    pen.line([(x + lift, height(x)) for x in places], ORANGE, 0.014)


def _bridge_tower(pen: Pen, x: float) -> None:
    for low, high, wide in (
        (0.02, 0.29, 0.038),
        (0.29, 0.56, 0.034),
        (0.56, 0.8, 0.029),
        (0.8, 1.0, 0.024),
    ):
        for side in (-0.075, 0.075):
            pen.box(x + side - wide, low, x + side + wide * 0.2, high, ORANGE, -0.4)
            pen.box(x + side + wide * 0.2, low, x + side + wide, high, ORANGE, 0.9)
    for y, deep in ((0.97, 0.03), (0.79, 0.028), (0.59, 0.026), (0.4, 0.024), (0.26, 0.02)):
        pen.box(x - 0.09, y - deep, x + 0.09, y + deep, mix(ORANGE, (90, 30, 24), 0.15))
    pen.line([(x - 0.06, 0.05), (x + 0.06, 0.24)], ORANGE, 0.016)
    pen.line([(x + 0.06, 0.05), (x - 0.06, 0.24)], ORANGE, 0.016)


def itsukushima_torii(pen: Pen) -> None:
    """Draw the floating gate: curved top beams, lower beam, main and side pillars."""
    for side in (-1, 1):
        for offset in (-0.15, 0.15):
            x = side * 0.4 + offset
            pen.cylinder(x, (-0.02, 0.46), (0.028, 0.022), VERMILION, 3)
            pen.box(x - 0.035, 0.45, x + 0.035, 0.475, SHADOW)
        pen.box(side * 0.4 - 0.19, 0.36, side * 0.4 + 0.19, 0.4, VERMILION, 0.2)
        pen.box(side * 0.4 - 0.18, 0.12, side * 0.4 + 0.18, 0.15, VERMILION, 0.2)
        pillar = [(0.065, -0.02), (0.05, 0.12), (0.044, 0.86)]
        for (low, y0), (high, y1) in itertools.pairwise(pillar):
            shift = side * 0.03
            left, right = side * 0.4 - shift * y0, side * 0.4 - shift * y1
            quad = [(left - low, y0), (left + low, y0), (right + high, y1), (right - high, y1)]
            pen.polygon(quad, VERMILION, -0.3)
            pen.polygon(
                [(left + low * 0.3, y0), quad[1], quad[2], (right + high * 0.3, y1)], VERMILION, 0.9
            )
    pen.box(-0.54, 0.63, 0.54, 0.7, VERMILION)
    pen.box(-0.055, 0.69, 0.055, 0.86, (150, 56, 32))
    pen.box(-0.035, 0.71, 0.035, 0.84, (206, 172, 92))
    _curved_beam(pen, (0.82, 0.885), 0.6, VERMILION)
    _curved_beam(pen, (0.885, 0.93), 0.66, (232, 112, 70))
    _curved_beam(pen, (0.93, 0.97), 0.7, (96, 66, 54))


def _curved_beam(pen: Pen, ends: Point, half: float, colour: Colour) -> None:
    low, high = ends
    top = bezier((-half, high + 0.045), (0, high - 0.045), (half, high + 0.045))
    bottom = bezier((half * 0.97, low + 0.045), (0, low - 0.045), (-half * 0.97, low + 0.045))
    pen.polygon([*top, *bottom], colour)


def parthenon(pen: Pen) -> None:
    """Draw the temple front with eight Doric columns, a broken pediment and a receding flank."""
    reach = 0.35 + 0.45 * abs(pen.view.turn)
    for low, half in ((0.0, 0.86), (0.03, 0.83), (0.06, 0.8)):
        pen.box(-half, low, half + reach * 0.98, low + 0.032, PENTELIC, -0.2)
    pen.box(-0.62, 0.09, 0.62, 0.6, (150, 128, 98))
    _flank(pen, reach)
    for i in range(8):
        _doric_column(pen, -0.735 + 0.21 * i, 0.058, 0.64)
    pen.box(-0.8, 0.66, 0.8, 0.735, PENTELIC)
    pen.box(-0.8, 0.74, 0.8, 0.815, PENTELIC, -0.15)
    for i in range(15):
        x = -0.77 + 0.11 * i
        pen.box(x - 0.022, 0.742, x + 0.022, 0.812, (178, 154, 116))
    pen.line([(-0.82, 0.82), (0.82, 0.82)], PENTELIC, 0.016)
    pen.polygon(
        [(-0.84, 0.825), (-0.1, 0.97), (-0.14, 0.9), (-0.24, 0.9), (-0.3, 0.83)], PENTELIC, -0.2
    )
    pen.polygon(
        [(0.84, 0.825), (0.36, 0.925), (0.4, 0.87), (0.5, 0.86), (0.52, 0.83)], PENTELIC, 0.3
    )
    pen.polygon(
        [(-0.1, 0.97), (0.0, 1.0), (0.02, 0.93), (-0.06, 0.9), (-0.14, 0.9)], (196, 172, 132)
    )


def _doric_column(pen: Pen, x: float, radius: float, top: float) -> None:
    pen.cylinder(x, (0.09, top - 0.035), (radius, radius * 0.78), PENTELIC)
    for shift in (-0.45, 0.0, 0.45):
        pen.line(
            [(x + shift * radius, 0.095), (x + shift * radius * 0.8, top - 0.04)],
            (172, 150, 116),
            0.005,
        )
    pen.polygon(
        [
            (x - radius * 0.78, top - 0.035),
            (x + radius * 0.78, top - 0.035),
            (x + radius * 1.15, top),
            (x - radius * 1.15, top),
        ],
        PENTELIC,
    )
    pen.box(x - radius * 1.2, top, x + radius * 1.2, top + 0.022, PENTELIC)


def _flank(pen: Pen, reach: float) -> None:
    bays = 11
    edges = [0.8 + reach * (1 - (1 - i / bays) ** 1.35) for i in range(bays + 1)]
    pen.box(0.8, 0.09, 0.8 + reach, 0.62, (126, 106, 82), 0.5)
    for near, far in itertools.pairwise(edges):
        shrink = 1 - 0.18 * (far - 0.8) / reach
        pen.box(near + 0.4 * (far - near), 0.09, far, 0.66 * shrink, PENTELIC, 0.8)
    top = 0.82 * (1 - 0.18)
    pen.polygon(
        [(0.8, 0.66), (0.8 + reach, 0.66 * 0.82), (0.8 + reach, top), (0.8, 0.82)], PENTELIC, 0.8
    )
