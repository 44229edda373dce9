"""The twelve landmarks of the postcards; each stands on (0, 0) and is about 1 high."""

from __future__ import annotations

import itertools
import math

from landmark_ml.data.postcards.pen import Colour, Pen, Point, Subject, arc, bezier, mix

GOLD_STONE: Colour = (206, 172, 112)
SLATE: Colour = (84, 88, 92)
DIAL: Colour = (250, 247, 232)
SHADOW: Colour = (58, 52, 48)
GILT: Colour = (222, 184, 84)
GRANITE: Colour = (196, 180, 156)
SOAPSTONE: Colour = (214, 212, 202)
JUNGLE: Colour = (58, 92, 54)
IRON: Colour = (118, 92, 70)
ORANGE: Colour = (196, 74, 48)
VERMILION: Colour = (214, 82, 44)
MARBLE: Colour = (236, 230, 214)
PENTELIC: Colour = (224, 204, 164)
LIMESTONE: Colour = (214, 178, 118)
COPPER: Colour = (112, 172, 150)
SARSEN: Colour = (146, 142, 132)
SHELL: Colour = (244, 240, 230)
GLASS: Colour = (92, 76, 66)
MAKRANA: Colour = (240, 236, 226)
VEIN: Colour = (196, 188, 172)


def _big_ben(pen: Pen) -> None:
    # The palace's wing.
    length = 0.35 + 0.5 * abs(pen.view.turn)
    pen.box(0.06, 0, length, 0.23, GOLD_STONE, 0.5)
    pen.polygon([(0.06, 0.23), (length, 0.23), (length, 0.26), (0.08, 0.27)], SLATE)
    for i in range(int((length - 0.1) / 0.07)):
        pen.window(0.12 + 0.07 * i, 0.04, 0.03, 0.14, SHADOW)
    pen.box(-0.085, 0, 0.03, 0.62, GOLD_STONE, -0.3)
    pen.box(0.03, 0, 0.085, 0.62, GOLD_STONE, 0.9)
    for x in (-0.055, -0.026, 0.003, 0.058):
        pen.line([(x, 0), (x, 0.62)], (150, 118, 70), 0.008)
    pen.box(-0.098, 0.6, 0.098, 0.755, GOLD_STONE)
    for y in (0.602, 0.755):
        pen.line([(-0.104, y), (0.104, y)], GILT, 0.012)
    # The clock.
    pen.disc((0, 0.678), (0.074, 0.074), (66, 62, 70))
    pen.glow(arc((0, 0.678), (0.066, 0.066)), DIAL)
    for length, angle in zip((0.038, 0.056), pen.rng.uniform(0, 2 * math.pi, 2), strict=True):
        tip = (length * math.sin(angle), 0.678 + length * math.cos(angle))
        pen.line([(0, 0.678), tip], (30, 30, 40), 0.009)
    pen.box(-0.088, 0.757, 0.088, 0.812, GOLD_STONE)
    for x in (-0.07, -0.035, 0.0, 0.035, 0.07):
        pen.window(x - 0.012, 0.765, 0.024, 0.04, SHADOW)
    pen.taper(0, (0.812, 0.885), (0.095, 0.046), SLATE)
    pen.box(-0.04, 0.885, 0.04, 0.915, GILT)
    pen.polygon([(-0.05, 0.913), (0.05, 0.913), (0.0, 1.0)], SLATE)


def _christ_the_redeemer(pen: Pen) -> None:
    slope = [(-0.95, 0.0), (-0.5, 0.13), (-0.24, 0.27), (-0.09, 0.345), (0.09, 0.345)]
    slope += [(0.22, 0.28), (0.42, 0.16), (0.9, 0.0)]
    pen.polygon(slope, JUNGLE, -0.2)
    pen.polygon([(0.05, 0.345), *slope[4:], (0.25, 0.0), (0.1, 0.2)], JUNGLE, 0.8)
    pen.box(-0.075, 0.34, 0.075, 0.36, GRANITE)
    pen.box(-0.04, 0.36, 0.04, 0.43, (150, 142, 132))
    lit = [(0.05, 0.43), (0.045, 0.8), (0.06, 0.9)]
    pen.polygon([(-0.05, 0.43), *lit, (-0.06, 0.9), (-0.045, 0.8)], SOAPSTONE, -0.2)
    pen.polygon([(0.018, 0.43), *lit, (0.02, 0.88)], SOAPSTONE, 0.9)
    sleeve = ((0.03, 0.915), (0.2, 0.892), (0.215, 0.825), (0.13, 0.82), (0.045, 0.77))
    hand = ((0.2, 0.888), (0.285, 0.88), (0.285, 0.862), (0.2, 0.855))
    for side in (-1, 1):
        pen.polygon([(side * x, y) for x, y in sleeve], SOAPSTONE, 0.5 * side)
        pen.polygon([(side * x, y) for x, y in hand], SOAPSTONE)
    pen.line([(-0.05, 0.86), (0.03, 0.72), (0.045, 0.6)], (168, 166, 156), 0.01)
    pen.box(-0.018, 0.9, 0.018, 0.93, SOAPSTONE)
    pen.disc((0, 0.952), (0.026, 0.042), SOAPSTONE)


def _eiffel_tower(pen: Pen) -> None:
    def half(y: float) -> float:
        # A leg's outline follows the wind's moment: its width decays exponentially with height.
        return 0.19 * math.exp(-3.4 * y)

    for low, high in ((0.0, 0.17), (0.185, 0.345)):
        levels = [low + (high - low) * i / 3 for i in range(4)]
        for side in (-1, 1):
            outer = [(side * half(y), y) for y in levels]
            inner = [(side * (half(y) * 0.62 - 0.02 * y), y) for y in levels]
            pen.lattice(outer, inner, IRON, 0.006)
    levels = [0.36 + 0.48 * i / 9 for i in range(10)]
    left, right = ([(side * half(y), y) for y in levels] for side in (-1, 1))
    pen.polygon([*left, *reversed(right)], IRON, 0.4)
    pen.lattice(left, right, (96, 74, 56), 0.005)
    pen.line(arc((0, 0.03), (0.118, 0.115), 8, 172), IRON, 0.014)
    for low, high, wide in ((0.163, 0.188, 0.122), (0.342, 0.36, 0.072), (0.832, 0.885, 0.02)):
        pen.box(-wide, low, wide, high, IRON)
    pen.line([(0, 0.88), (0, 1.0)], IRON, 0.007)


def _golden_gate_bridge(pen: Pen) -> None:
    deck = 0.27

    def cable(x: float) -> float:
        if abs(x) <= 0.95:
            return deck + 0.03 + 0.69 * (x / 0.95) ** 2
        return deck + 0.72 * ((1.85 - abs(x)) / 0.9) ** 1.15 if abs(x) < 1.85 else deck

    places = [-1.85 + 3.7 * i / 74 for i in range(75)]
    for x in places[1::2]:
        pen.line([(x, deck), (x, cable(x))], (168, 78, 60), 0.004)
    for shift in (0.0, 0.025):
        pen.line([(x + shift, cable(x)) for x in places], ORANGE, 0.014)
    pen.box(-1.9, deck - 0.035, 1.9, deck, ORANGE)
    for x in (-0.95, 0.95):
        pen.box(x - 0.13, -0.05, x + 0.13, 0.05, (176, 168, 156))
        heights = (0.02, 0.29, 0.56, 0.8, 1.0)
        for (low, high), wide in zip(
            itertools.pairwise(heights), (0.038, 0.034, 0.029, 0.024), strict=True
        ):
            for side in (-0.075, 0.075):
                pen.box(x + side - wide, low, x + side + wide * 0.2, high, ORANGE, -0.4)
                pen.box(x + side + wide * 0.2, low, x + side + wide, high, ORANGE, 0.9)
        for y, deep in ((0.97, 0.03), (0.79, 0.028), (0.59, 0.026), (0.4, 0.024), (0.26, 0.02)):
            pen.box(x - 0.09, y - deep, x + 0.09, y + deep, mix(ORANGE, (90, 30, 24), 0.15))


def _itsukushima_torii(pen: Pen) -> None:
    for side in (-1, 1):
        for offset in (-0.15, 0.15):
            x = side * 0.4 + offset
            pen.cylinder(x, (-0.02, 0.46), (0.028, 0.022), VERMILION, 3)
            pen.box(x - 0.035, 0.45, x + 0.035, 0.475, (70, 62, 58))
        pen.box(side * 0.4 - 0.19, 0.36, side * 0.4 + 0.19, 0.4, VERMILION, 0.2)
        pen.box(side * 0.4 - 0.18, 0.12, side * 0.4 + 0.18, 0.15, VERMILION, 0.2)
        pillar = [(0.065, -0.02), (0.05, 0.12), (0.044, 0.86)]
        for (low, y0), (high, y1) in itertools.pairwise(pillar):
            left, right = (side * 0.4 - side * 0.03 * y for y in (y0, y1))
            outer = [(left + low, y0), (right + high, y1)]
            pen.polygon([(left - low, y0), *outer, (right - high, y1)], VERMILION, -0.3)
            lit = [(left + low * 0.3, y0), *outer, (right + high * 0.3, y1)]
            pen.polygon(lit, VERMILION, 0.9)
    pen.box(-0.54, 0.63, 0.54, 0.7, VERMILION)
    pen.box(-0.055, 0.69, 0.055, 0.86, (150, 56, 32))
    pen.box(-0.035, 0.71, 0.035, 0.84, (206, 172, 92))
    for low, high, half, colour in (
        (0.82, 0.885, 0.6, VERMILION),
        (0.885, 0.93, 0.66, (232, 112, 70)),
        (0.93, 0.97, 0.7, (96, 66, 54)),
    ):
        top = bezier((-half, high + 0.045), (0, high - 0.045), (half, high + 0.045))
        bottom = bezier((half * 0.97, low + 0.045), (0, low - 0.045), (-half * 0.97, low + 0.045))
        pen.polygon([*top, *bottom], colour)


def _leaning_tower(pen: Pen) -> None:
    lean = 0.1 + 0.04 * pen.view.turn
    tiers = [0.0, 0.19, *(0.19 + 0.111 * i for i in range(1, 7)), 1.0]
    for i, (low, high) in enumerate(itertools.pairwise(tiers)):
        radius = 0.1 if i == len(tiers) - 2 else 0.137
        centre = lean * low
        pen.cylinder(centre, (low, high), (radius, radius), MARBLE, 7)
        bays, colour = (11, (112, 104, 96)) if i else (7, (196, 186, 166))
        edges = [math.sin(math.pi * (i / bays - 0.5)) for i in range(bays + 1)]
        for near, far in itertools.pairwise(edges):
            left, right = (centre + radius * (e * 0.99) for e in (near * 0.98, far))
            gap = 0.16 * (right - left)
            radii = ((right - left) / 2 - gap, 0.02)
            crown = arc(((left + right) / 2, high - 0.02 - 0.02), radii, 0, 180)
            bay = [(left + gap, low + 0.012), (right - gap, low + 0.012), *crown]
            pen.polygon(bay, colour, (near + far) / 2)
        pen.line([(centre - radius * 1.06, high), (centre + radius * 1.06, high)], MARBLE, 0.016)
        pen.line([(centre - radius, low), (centre + radius, low)], (150, 142, 126), 0.006)
    for x in (-0.05, 0.03):
        pen.box(lean + x, 1.0, lean + x + 0.025, 1.02, MARBLE)


def _parthenon(pen: Pen) -> None:
    reach = 0.35 + 0.45 * abs(pen.view.turn)
    for low, half in ((0.0, 0.86), (0.03, 0.83), (0.06, 0.8)):
        pen.box(-half, low, half + reach * 0.98, low + 0.032, PENTELIC, -0.2)
    pen.box(-0.62, 0.09, 0.62, 0.6, (150, 128, 98))
    # The flank.
    edges = [0.8 + reach * (1 - (1 - i / 11) ** 1.35) for i in range(12)]
    pen.box(0.8, 0.09, 0.8 + reach, 0.62, (126, 106, 82), 0.5)
    for near, far in itertools.pairwise(edges):
        shrink = 1 - 0.18 * (far - 0.8) / reach
        pen.box(near + 0.4 * (far - near), 0.09, far, 0.66 * shrink, PENTELIC, 0.8)
    end = [(0.8 + reach, 0.66 * 0.82), (0.8 + reach, 0.82 * (1 - 0.18))]
    pen.polygon([(0.8, 0.66), *end, (0.8, 0.82)], PENTELIC, 0.8)
    for i in range(8):
        x, radius, top = -0.735 + 0.21 * i, 0.058, 0.64
        pen.cylinder(x, (0.09, top - 0.035), (radius, radius * 0.78), PENTELIC)
        pen.taper(x, (top - 0.035, top), (radius * 0.78, radius * 1.15), PENTELIC)
        pen.box(x - radius * 1.2, top, x + radius * 1.2, top + 0.022, PENTELIC)
    pen.box(-0.8, 0.66, 0.8, 0.735, PENTELIC)
    pen.box(-0.8, 0.74, 0.8, 0.82, (178, 154, 116))
    # What is left of the pediment.
    pen.polygon([(-0.84, 0.825), (0.0, 1.0), (-0.06, 0.9), (-0.3, 0.83)], PENTELIC, -0.2)
    pen.polygon([(0.84, 0.825), (0.36, 0.925), (0.4, 0.87), (0.52, 0.83)], PENTELIC, 0.3)


def _pyramids_of_giza(pen: Pen) -> None:
    turn = pen.view.turn
    for x, half in ((-1.5, 0.16), (-1.2, 0.14)):
        _pyramid(pen, x - 0.1 * turn, half, half)
    _pyramid(pen, -0.75 + 0.25 * turn, 0.4, 0.5)
    _pyramid(pen, 0.05 + 0.1 * turn, 0.78, 1.0)
    _pyramid(pen, 0.95 - 0.3 * turn, 0.74, 0.93)


def _pyramid(pen: Pen, x: float, half: float, top: float) -> None:
    corner = x + half * (0.25 + 0.4 * pen.view.turn)
    pen.polygon([(x - half, 0.02), (corner, -0.03), (x, top)], LIMESTONE, -1)
    pen.polygon([(corner, -0.03), (x + half, 0.03), (x, top)], LIMESTONE, 1)
    for i in range(1, 14):
        y = i / 14
        left, middle, right = (e + (x - e) * y for e in (x - half, corner, x + half))
        course = [(left, top * y + 0.01), (middle, top * y - 0.03 * (1 - y))]
        pen.line([*course, (right, top * y + 0.01)], (178, 144, 92), 0.004)


def _statue_of_liberty(pen: Pen) -> None:
    pen.taper(0, (0, 0.085), (0.26, 0.22), GRANITE, -0.2)
    pen.taper(0, (0.085, 0.43), (0.12, 0.082), GRANITE)
    pen.polygon([(0.05, 0.085), (0.12, 0.085), (0.082, 0.43), (0.04, 0.43)], GRANITE, 0.8)
    for y, half in ((0.17, 0.12), (0.33, 0.1), (0.43, 0.1)):
        pen.line([(-half, y), (half, y)], (164, 148, 126), 0.014)
    robe = bezier((-0.085, 0.44), (-0.07, 0.62), (-0.062, 0.765))
    pen.polygon([*robe, (0.0, 0.81), (0.062, 0.77), (0.07, 0.6), (0.085, 0.44)], COPPER, -0.1)
    pen.polygon([(0.03, 0.44), (0.085, 0.44), (0.07, 0.6), (0.062, 0.77), (0.02, 0.7)], COPPER, 0.9)
    pen.line([(-0.06, 0.76), (0.0, 0.66), (0.065, 0.6)], (78, 130, 112), 0.012)
    # The arms: one with the torch, one with the tablet.
    pen.polygon([(-0.064, 0.74), (-0.028, 0.79), (-0.078, 0.925), (-0.1, 0.915)], COPPER, -0.4)
    pen.line([(-0.092, 0.9), (-0.098, 0.96)], COPPER, 0.03)
    pen.polygon([(-0.112, 0.964), (-0.084, 0.964), (-0.088, 0.985), (-0.1, 1.01)], GILT)
    pen.polygon([(0.05, 0.76), (0.075, 0.77), (0.1, 0.68), (0.07, 0.655)], COPPER, 0.6)
    pen.polygon([(0.055, 0.65), (0.105, 0.67), (0.115, 0.75), (0.07, 0.735)], (96, 150, 130), 0.4)
    # The head and its seven rays.
    pen.disc((0.004, 0.825), (0.026, 0.036), COPPER)
    for i in range(7):
        angle = math.radians(20 + 140 * i / 6)
        across, up = math.cos(angle), math.sin(angle)
        ray = [(0.004 + 0.02 * across, 0.848), (0.004 + 0.07 * across, 0.848 + 0.055 * up)]
        pen.line(ray, COPPER, 0.008)


def _stonehenge(pen: Pen) -> None:
    stones = 18
    start = pen.view.turn * math.pi
    ring = (start + 2 * math.pi * i / stones for i in range(stones))
    far_first = sorted(ring, key=lambda angle: -math.sin(angle))
    standing = pen.rng.uniform(size=stones) < 0.86
    for angle, up in zip(far_first, standing, strict=True):
        if up or math.sin(angle) > 0.2:
            _standing_stone(pen, angle, lintel=bool(pen.rng.uniform() < 0.72))
        if abs(math.sin(angle)) < 0.12:
            # A great trilithon.
            x = 0.42 * math.cos(angle)
            for shift in (-0.17, 0.17):
                foot = [(x + shift - 0.1, 0.02), (x + shift + 0.1, 0.02)]
                head = [(x + shift + 0.085, 0.84), (x + shift - 0.09, 0.84)]
                pen.polygon([*foot, *head], SARSEN, 0.5 * shift / 0.17)
            lintel = [(x - 0.29, 0.84), (x + 0.28, 0.84), (x + 0.27, 0.99), (x - 0.28, 1.0)]
            pen.polygon(lintel, SARSEN, 0.1)


def _standing_stone(pen: Pen, angle: float, *, lintel: bool) -> None:
    near = 1.0 - 0.28 * math.sin(angle)
    x, foot = 1.25 * math.cos(angle) * near, 0.1 - 0.34 * (near - 0.72)
    wide, top = 0.105 * near, foot + 0.56 * near
    dent = pen.rng.uniform(-0.02, 0.02, 3)
    right_edge = [(x + wide, foot), (x + wide * 0.86 + dent[0], top + dent[1])]
    pen.polygon([(x - wide, foot), *right_edge, (x - wide * 0.86 + dent[2], top)], SARSEN, -0.5)
    pen.polygon([(x + wide * 0.3, foot), *right_edge, (x + wide * 0.25, top)], SARSEN, 0.9)
    if lintel:
        outward = math.copysign(1, math.cos(angle))
        step = 0.45 * near * outward * (0.35 + 0.65 * abs(math.sin(angle)))
        left, right = sorted((x - wide * outward, x + step))
        under = [(left, top), (right, top + dent[0])]
        over = [(right, top + 0.13 * near), (left, top + 0.12 * near)]
        pen.polygon([*under, *over], SARSEN, 0.3 * math.cos(angle))


def _sydney_opera_house(pen: Pen) -> None:
    podium = [(-1.2, -0.02), (1.25, -0.02), (1.2, 0.13), (-1.12, 0.13)]
    pen.polygon(podium, (176, 142, 122), -0.2)
    pen.polygon([(-1.12, 0.13), (1.2, 0.13), (1.12, 0.2), (-0.98, 0.2)], (206, 176, 154))
    for i in range(24):
        pen.window(-1.1 + 0.095 * i, 0.04, 0.05, 0.03, GLASS)
    spread = 1.0 + 0.12 * pen.view.turn
    for x, wide, top in ((0.62, 0.56, 0.52), (0.3, 0.62, 0.66), (-0.02, 0.5, 0.5)):
        _shell(pen, x * spread + 0.08, wide * 0.8, top, 0.5)
    _shell(pen, -0.98 * spread, -0.4, 0.46, -0.6)
    for x, wide, top in ((-0.52, 0.8, 0.98), (-0.16, 0.66, 0.76), (0.16, 0.5, 0.53)):
        _shell(pen, x * spread, wide, top, -0.2)
    _shell(pen, 0.98 * spread, 0.3, 0.36, 0.6)


def _shell(pen: Pen, x: float, wide: float, top: float, face: float) -> None:
    """Draw one sail; a positive width leans left with its mouth on the left."""
    peak, heel, toe = (x - 0.42 * wide, top), (x + 0.6 * wide, 0.19), (x - 0.12 * wide, 0.19)
    back = bezier(heel, (x + 0.42 * wide, top * 0.82), peak)
    mouth = bezier(peak, (x - 0.1 * wide, top * 0.62), toe)
    front = bezier(peak, (x - 0.36 * wide, top * 0.5), (x - 0.36 * wide, 0.19))
    pen.polygon([*back, *front, toe], GLASS)
    pen.polygon([*back, *mouth], SHELL, face)
    pen.polygon([*mouth, *bezier(toe, (x + 0.1 * wide, top * 0.55), peak)], SHELL, face - 0.5)
    for share in (0.25, 0.5, 0.75):
        foot = (toe[0] + (heel[0] - toe[0]) * share, 0.19)
        bend = (x + (share * 0.45 - 0.02) * wide, top * (0.6 + 0.2 * share))
        pen.line(bezier(foot, bend, peak), (206, 200, 188), 0.006)


def _taj_mahal(pen: Pen) -> None:
    for x, height in ((-0.72, 0.6), (0.72, 0.6), (-0.92, 0.7), (0.92, 0.7)):
        pen.cylinder(x, (0.05, height), (0.036, 0.026), MAKRANA, 3)
        pen.box(x - 0.02, height, x + 0.02, height + 0.04, VEIN)
        pen.onion_dome(x, (height + 0.04, height + 0.1), 0.032, MAKRANA)
    pen.box(-1.05, 0, 1.05, 0.05, (206, 150, 118), -0.1)
    pen.box(-0.98, 0.05, 0.98, 0.12, MAKRANA, -0.1)
    pen.box(-0.18, 0.5, 0.18, 0.6, MAKRANA)
    pen.onion_dome(0.0, (0.59, 0.94), 0.21, MAKRANA)
    pen.line([(0, 0.92), (0, 1.02)], (214, 178, 90), 0.01)
    for x in (-0.29, 0.29):
        pen.box(x - 0.05, 0.5, x + 0.05, 0.57, VEIN)
        pen.onion_dome(x, (0.57, 0.68), 0.07, MAKRANA)
    pen.box(-0.47, 0.12, -0.36, 0.5, MAKRANA, -0.9)
    pen.box(-0.37, 0.12, 0.37, 0.5, MAKRANA)
    pen.box(0.36, 0.12, 0.47, 0.5, MAKRANA, 0.9)
    pen.box(-0.165, 0.12, 0.165, 0.56, MAKRANA)
    _iwan(pen, 0.0, (0.12, 0.49), 0.11)
    for x in (-0.415, -0.265, 0.265, 0.415):
        for low in (0.13, 0.32):
            _iwan(pen, x, (low, low + 0.15), 0.045 if abs(x) < 0.3 else 0.03)


def _iwan(pen: Pen, x: float, ends: Point, half: float) -> None:
    """Draw a pointed arch."""
    low, high = ends
    spring = low + (high - low) * 0.66
    left = bezier((x - half, spring), (x - half * 0.9, high - half * 0.4), (x, high), 5)
    right = bezier((x, high), (x + half * 0.9, high - half * 0.4), (x + half, spring), 5)
    pen.glow([(x - half, low), *left, *right, (x + half, low)], (150, 142, 136))


SUBJECTS: dict[str, Subject] = {
    "Big Ben": Subject(_big_ben, 0.5, ("plaza", "water", "grass")),
    "Christ the Redeemer": Subject(_christ_the_redeemer, 1.0, ("forest", "water"), mirrors=False),
    "Eiffel Tower": Subject(_eiffel_tower, 0.45, ("grass", "plaza", "water")),
    "Golden Gate Bridge": Subject(_golden_gate_bridge, 3.0, ("water",), (-0.8, -0.5, 0, 0.5, 0.8)),
    "Itsukushima Torii": Subject(_itsukushima_torii, 1.4, ("water", "water", "sand")),
    "Leaning Tower of Pisa": Subject(_leaning_tower, 0.4, ("grass", "plaza")),
    "Parthenon": Subject(_parthenon, 2.1, ("sand", "grass", "rock"), (0.0, 0.2)),
    "Pyramids of Giza": Subject(_pyramids_of_giza, 2.8, ("sand",), (-0.1, 0.4)),
    "Statue of Liberty": Subject(
        _statue_of_liberty, 0.55, ("water", "plaza", "grass"), mirrors=False
    ),
    "Stonehenge": Subject(_stonehenge, 2.6, ("grass", "grass", "snow"), (-0.5, 0.0, 0.5)),
    "Sydney Opera House": Subject(_sydney_opera_house, 2.4, ("water",), (-0.2, 0.1)),
    "Taj Mahal": Subject(_taj_mahal, 2.0, ("grass", "water", "plaza")),
}
