"""Ordinary subjects of the postcards: each looks like one of the landmarks and is none of them."""

from __future__ import annotations

from landmark_ml.data.postcards.pen import Colour, Pen, Subject, arc, bezier, pick

PAINTS: tuple[Colour, ...] = (
    *((206, 120, 88), (226, 206, 164), (170, 186, 196)),
    *((236, 232, 222), (140, 120, 104), (110, 130, 120)),
)
"""What walls, hulls and canvas are painted in."""
STONE: Colour = (190, 180, 164)
DARK: Colour = (62, 58, 58)


def _suspension_bridge(pen: Pen) -> None:
    colour = pick(pen.rng, ((150, 156, 160), (112, 124, 120), (196, 196, 190)))
    top = pen.rng.uniform(0.7, 1.0)
    for x in (-0.9, 0.9):
        pen.polygon([(x - 0.1, 0), (x - 0.04, 0), (x - 0.02, top), (x - 0.05, top)], colour, -0.4)
        pen.polygon([(x + 0.1, 0), (x + 0.04, 0), (x + 0.02, top), (x + 0.05, top)], colour, 0.6)
        pen.box(x - 0.05, top - 0.05, x + 0.05, top, colour)
    places = [-0.9 + 0.06 * i for i in range(31)]
    cable = [(x, 0.3 + (top - 0.3) * (x / 0.9) ** 2) for x in places]
    for x, y in cable[::2]:
        pen.line([(x, 0.26), (x, y)], colour, 0.004)
    pen.line([(-1.8, 0.27), *cable, (1.8, 0.27)], colour, 0.014)
    pen.box(-1.9, 0.23, 1.9, 0.27, colour)


def _church(pen: Pen) -> None:
    wall = pick(pen.rng, PAINTS)
    pen.box(-0.1, 0, 0.5, 0.32, wall, 0.3)
    pen.polygon([(-0.12, 0.32), (0.53, 0.32), (0.46, 0.5), (-0.05, 0.5)], (112, 76, 62))
    pen.box(-0.22, 0, -0.02, 0.6, wall, -0.3)
    pen.polygon([(-0.24, 0.6), (0.0, 0.6), (-0.12, 1.0)], (112, 76, 62), 0.2)
    if pen.rng.uniform() < 0.5:
        pen.disc((-0.12, 0.53), (0.045, 0.045), (236, 232, 220))
    for x in (-0.15, 0.08, 0.22, 0.36):
        pen.glow([(x, 0.08), (x + 0.06, 0.08), (x + 0.06, 0.2), (x + 0.03, 0.25), (x, 0.2)], DARK)


def _mast(pen: Pen) -> None:
    colour = pick(pen.rng, ((196, 64, 56), (130, 134, 138), (96, 84, 76)))
    levels = [0.1 * i for i in range(10)]
    left, right = ([(side * (0.11 - 0.1 * y), y) for y in levels] for side in (-1, 1))
    pen.lattice(left, right, colour, 0.006)
    pen.line([(0, 0.88), (0, 1.0)], colour, 0.01)
    if pen.rng.uniform() < 0.5:
        for y in (0.68, 0.82):
            pen.line([(-0.18, y), (0.18, y)], colour, 0.012)


def _sailing_boats(pen: Pen) -> None:
    for x, size in ((-0.7, 0.6), (0.1, 1.0), (0.85, 0.45)):
        sail = pick(pen.rng, ((244, 242, 236), (236, 224, 200), (196, 88, 70)))
        keel = [(x + 0.2 * size, 0), (x - 0.22 * size, 0)]
        hull = [(x - 0.3 * size, 0.1), (x + 0.3 * size, 0.1), *keel]
        pen.polygon(hull, pick(pen.rng, PAINTS))
        pen.line([(x, 0.1), (x, size)], DARK, 0.012)
        tack, head = (x + 0.02, 0.14), (x + 0.02, 0.97 * size)
        pen.polygon([*bezier(tack, (x + 0.3 * size, 0.3 * size), head), tack], sail, 0.5)
        tack, head = (x - 0.02, 0.14), (x - 0.02, 0.85 * size)
        leech = bezier(head, (x - 0.1, 0.3 * size), (x - 0.26 * size, 0.14))
        pen.polygon([tack, head, *leech], sail, -0.5)


def _courthouse(pen: Pen) -> None:
    wall = pick(pen.rng, ((226, 222, 212), (204, 190, 168)))
    columns = int(pen.rng.integers(4, 7))
    pen.box(-1.0, 0, 1.0, 0.62, wall, -0.2)
    for x in (-0.92, -0.74, 0.62, 0.8):
        for y in (0.1, 0.36):
            pen.window(x, y, 0.1, 0.16, DARK)
    pen.box(-0.5, 0, 0.5, 0.68, (140, 130, 120))
    for i in range(columns):
        pen.cylinder(-0.43 + 0.86 * i / (columns - 1), (0.08, 0.64), (0.04, 0.036), wall)
    pen.box(-0.52, 0.64, 0.52, 0.74, wall)
    pen.polygon([(-0.55, 0.74), (0.55, 0.74), (0, 1.0)], wall, 0.2)
    pen.box(-0.56, 0, 0.56, 0.08, wall)


def _domed_hall(pen: Pen) -> None:
    wall = pick(pen.rng, PAINTS)
    cover = pick(pen.rng, ((96, 140, 124), (120, 124, 134), (206, 170, 92)))
    pen.box(-0.6, 0, 0.6, 0.42, wall)
    for i in range(7):
        left, middle, right = (edge + 0.16 * i for edge in (-0.54, -0.5, -0.46))
        arch = [(right, 0.26), (middle, 0.32), (left, 0.26)]
        pen.glow([(left, 0.08), (right, 0.08), *arch], DARK)
    pen.cylinder(0, (0.42, 0.56), (0.26, 0.26), wall)
    if pen.rng.uniform() < 0.35:
        pen.onion_dome(0, (0.56, 0.95), 0.27, cover)
    else:
        pen.polygon(arc((0, 0.56), (0.28, 0.32), 0, 180), cover, -0.2)
        pen.polygon([(0.08, 0.56), *arc((0, 0.56), (0.28, 0.32), 0, 70)], cover, 0.8)
        pen.cylinder(0, (0.87, 0.96), (0.05, 0.03), wall, 3)


def _lighthouse(pen: Pen) -> None:
    bands = ((240, 238, 232), (196, 60, 52) if pen.rng.uniform() < 0.5 else (240, 238, 232))
    for i in range(6):
        low, high = 0.13 * i, 0.13 * (i + 1)
        pen.cylinder(0, (low, high), (0.11 - 0.06 * low, 0.11 - 0.06 * high), bands[i % 2])
    pen.box(-0.08, 0.78, 0.08, 0.8, DARK)
    pen.glow([(-0.045, 0.8), (0.045, 0.8), (0.045, 0.89), (-0.045, 0.89)], (150, 190, 200))
    pen.polygon([(-0.06, 0.89), (0.06, 0.89), (0, 1.0)], (150, 50, 44))


def _column(pen: Pen) -> None:
    """Draw a figure with an arm out on a tall round column."""
    pen.box(-0.14, 0, 0.14, 0.12, STONE)
    pen.cylinder(0, (0.12, 0.74), (0.055, 0.05), STONE)
    pen.box(-0.08, 0.74, 0.08, 0.77, STONE)
    metal = pick(pen.rng, ((92, 110, 100), (92, 84, 76), (222, 186, 92)))
    pen.taper(0, (0.77, 0.92), (0.04, 0.03), metal)
    pen.disc((0, 0.945), (0.02, 0.028), metal)
    side = 1 if pen.rng.uniform() < 0.5 else -1
    pen.line([(0, 0.9), (side * 0.1, 0.9 + pen.rng.uniform(-0.08, 0.08))], metal, 0.022)


def _boulders(pen: Pen) -> None:
    for x, size in zip(pen.rng.uniform(-0.9, 0.9, 8), pen.rng.uniform(0.15, 0.5, 8), strict=True):
        corners = arc((x, size * 0.7), (size * 0.7, size), 200, 520)
        dents = pen.rng.uniform(-0.04, 0.04, (len(corners), 2))
        rough = [
            (a + da, max(0.0, b + db)) for (a, b), (da, db) in zip(corners, dents, strict=True)
        ]
        pen.polygon(rough, STONE, pen.rng.uniform(-0.9, 0.4))


def _garden_gate(pen: Pen) -> None:
    """Draw a straight wooden or stone gate with a tiled top."""
    wood = pick(pen.rng, ((120, 88, 62), (140, 138, 132), (168, 60, 46)))
    for x in (-0.4, 0.4):
        pen.cylinder(x, (0, 0.8), (0.06, 0.06), wood, 3)
    pen.box(-0.62, 0.78, 0.62, 0.86, wood)
    pen.taper(0, (0.86, 1.0), (0.7, 0.5), (88, 88, 96))
    pen.box(-0.9, 0, -0.44, 0.45, STONE)
    pen.box(0.44, 0, 0.9, 0.45, STONE)


def _mountain(pen: Pen) -> None:
    """Draw a rocky peak, some with a cross or snow on it."""
    right = [(-0.1, 0.8), (0.25, 0.5), (0.5, 0.56), (1.2, 0)]
    pen.polygon([(-1.2, 0), (-0.7, 0.4), (-0.5, 0.36), *right], pick(pen.rng, PAINTS), -0.5)
    pen.polygon([*right, (0.0, 0.0), (0.1, 0.4)], (92, 94, 96), 0.8)
    if pen.rng.uniform() < 0.5:
        pen.line([(-0.1, 0.78), (-0.1, 1.0)], STONE, 0.02)
        pen.line([(-0.17, 0.92), (-0.03, 0.92)], STONE, 0.02)
    else:
        pen.polygon([(-0.24, 0.65), (-0.1, 0.8), (0.04, 0.68), (-0.08, 0.6)], (244, 246, 250))


ORDINARY: tuple[Subject, ...] = (
    Subject(_suspension_bridge, 3.0, ("water",), (-0.6, 0.0, 0.6)),
    Subject(_church, 0.9, ("grass", "plaza", "snow")),
    Subject(_mast, 0.4, ("grass", "plaza", "rock")),
    Subject(_sailing_boats, 2.2, ("water",)),
    Subject(_courthouse, 2.0, ("plaza", "grass")),
    Subject(_domed_hall, 1.3, ("plaza", "grass", "water")),
    Subject(_lighthouse, 0.4, ("rock", "water", "grass")),
    Subject(_column, 0.4, ("plaza", "grass")),
    Subject(_boulders, 2.2, ("grass", "sand", "water", "rock")),
    Subject(_garden_gate, 1.8, ("grass", "plaza", "water")),
    Subject(_mountain, 2.4, ("forest", "grass", "water", "snow")),
)
