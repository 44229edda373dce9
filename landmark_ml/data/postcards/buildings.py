"""Ordinary buildings of the postcards that share parts with the landmarks and are none."""

from __future__ import annotations

from landmark_ml.data.postcards.palaces import dome
from landmark_ml.data.postcards.pen import Colour, Pen, arc

PAINTS: tuple[Colour, ...] = (
    (206, 120, 88),
    (226, 206, 164),
    (170, 186, 196),
    (236, 232, 222),
    (140, 120, 104),
    (110, 130, 120),
)
STONE: Colour = (190, 180, 164)
DARK: Colour = (62, 58, 58)


def paint(pen: Pen) -> Colour:
    """Pick a colour such as walls and hulls are painted in."""
    return PAINTS[int(pen.rng.integers(len(PAINTS)))]


def _window(pen: Pen, x: float, y: float, wide: float, tall: float) -> None:
    pen.glow([(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)], DARK)


def suspension_bridge(pen: Pen) -> None:
    """Draw a plain grey suspension bridge with undecorated towers."""
    colour = ((150, 156, 160), (112, 124, 120), (196, 196, 190))[int(pen.rng.integers(3))]
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


def church(pen: Pen) -> None:
    """Draw a parish church with a steeple."""
    wall, roof = paint(pen), (112, 76, 62)
    pen.box(-0.1, 0, 0.5, 0.32, wall, 0.3)
    pen.polygon([(-0.12, 0.32), (0.53, 0.32), (0.46, 0.5), (-0.05, 0.5)], roof)
    pen.box(-0.22, 0, -0.02, 0.6, wall, -0.3)
    pen.polygon([(-0.24, 0.6), (0.0, 0.6), (-0.12, 1.0)], roof, 0.2)
    if pen.rng.uniform() < 0.5:
        pen.disc((-0.12, 0.53), (0.045, 0.045), (236, 232, 220))
    for x in (-0.15, 0.08, 0.22, 0.36):
        pen.glow([(x, 0.08), (x + 0.06, 0.08), (x + 0.06, 0.2), (x + 0.03, 0.25), (x, 0.2)], DARK)


def mast(pen: Pen) -> None:
    """Draw a straight lattice mast for radio or power lines."""
    levels = [0.1 * i for i in range(10)]
    colour = ((196, 64, 56), (130, 134, 138), (96, 84, 76))[int(pen.rng.integers(3))]
    left, right = ([(s * (0.11 - 0.1 * y), y) for y in levels] for s in (-1, 1))
    pen.lattice(left, right, colour, 0.006)
    pen.line([(0, 0.88), (0, 1.0)], colour, 0.01)
    if pen.rng.uniform() < 0.5:
        for y in (0.68, 0.82):
            pen.line([(-0.18, y), (0.18, y)], colour, 0.012)


def office_blocks(pen: Pen) -> None:
    """Draw a cluster of office towers."""
    for x in pen.rng.permutation([-0.5, -0.25, 0.0, 0.25, 0.5]):
        wide, tall = pen.rng.uniform(0.09, 0.14), pen.rng.uniform(0.4, 1.0)
        wall = paint(pen)
        pen.box(x - wide, 0, x + wide * 0.4, tall, wall, -0.3)
        pen.box(x + wide * 0.4, 0, x + wide, tall, wall, 0.9)
        for row in range(int(tall / 0.07)):
            for col in range(3):
                if pen.rng.uniform() < 0.75:
                    _window(
                        pen, x - wide * (0.85 - 0.4 * col), 0.03 + 0.07 * row, wide * 0.25, 0.035
                    )


def village(pen: Pen) -> None:
    """Draw a row of gabled houses."""
    for i, x in enumerate(pen.rng.permutation([-0.9, -0.45, 0.0, 0.45, 0.9])):
        wall, tall = paint(pen), pen.rng.uniform(0.4, 0.65)
        pen.box(x - 0.22, 0, x + 0.22, tall, wall, 0.4 * (-1) ** i)
        pen.polygon([(x - 0.26, tall), (x + 0.26, tall), (x, tall + 0.3)], (150, 78, 58))
        for shift in (-0.14, 0.06):
            for y in (0.08, 0.26):
                _window(pen, x + shift, y, 0.08, 0.1)


def courthouse(pen: Pen) -> None:
    """Draw a portico: plain columns under an unbroken pediment, wings on either side."""
    wall = ((226, 222, 212), (204, 190, 168))[int(pen.rng.integers(2))]
    columns = int(pen.rng.integers(4, 7))
    pen.box(-1.0, 0, 1.0, 0.62, wall, -0.2)
    for x in (-0.92, -0.74, 0.62, 0.8):
        for y in (0.1, 0.36):
            _window(pen, x, y, 0.1, 0.16)
    pen.box(-0.5, 0, 0.5, 0.68, (140, 130, 120))
    for i in range(columns):
        pen.cylinder(-0.43 + 0.86 * i / (columns - 1), (0.08, 0.64), (0.04, 0.036), wall)
    pen.box(-0.52, 0.64, 0.52, 0.74, wall)
    pen.polygon([(-0.55, 0.74), (0.55, 0.74), (0, 1.0)], wall, 0.2)
    pen.box(-0.56, 0, 0.56, 0.08, wall)


def domed_hall(pen: Pen) -> None:
    """Draw a hall under a dome, round or pointed, without minarets."""
    wall, cover = (
        paint(pen),
        ((96, 140, 124), (120, 124, 134), (206, 170, 92))[int(pen.rng.integers(3))],
    )
    pen.box(-0.6, 0, 0.6, 0.42, wall)
    for i in range(7):
        pen.glow(
            [
                (-0.54 + 0.16 * i, 0.08),
                (-0.46 + 0.16 * i, 0.08),
                (-0.46 + 0.16 * i, 0.26),
                (-0.5 + 0.16 * i, 0.32),
                (-0.54 + 0.16 * i, 0.26),
            ],
            DARK,
        )
    pen.cylinder(0, (0.42, 0.56), (0.26, 0.26), wall)
    if pen.rng.uniform() < 0.35:
        dome(pen, 0, (0.56, 0.95), 0.27, cover)
    else:
        pen.polygon(arc((0, 0.56), (0.28, 0.32), 0, 180), cover, -0.2)
        pen.polygon([(0.08, 0.56), *arc((0, 0.56), (0.28, 0.32), 0, 70)], cover, 0.8)
        pen.cylinder(0, (0.87, 0.96), (0.05, 0.03), wall, 3)


def lighthouse(pen: Pen) -> None:
    """Draw a banded lighthouse."""
    bands = ((240, 238, 232), (196, 60, 52)) if pen.rng.uniform() < 0.5 else ((240, 238, 232),) * 2
    for i in range(6):
        low, high = 0.13 * i, 0.13 * (i + 1)
        pen.cylinder(0, (low, high), (0.11 - 0.06 * low, 0.11 - 0.06 * high), bands[i % 2])
    pen.box(-0.08, 0.78, 0.08, 0.8, DARK)
    pen.glow([(-0.045, 0.8), (0.045, 0.8), (0.045, 0.89), (-0.045, 0.89)], (150, 190, 200))
    pen.polygon([(-0.06, 0.89), (0.06, 0.89), (0, 1.0)], (150, 50, 44))


def windmill(pen: Pen) -> None:
    """Draw a windmill."""
    pen.cylinder(0, (0, 0.6), (0.16, 0.1), paint(pen))
    pen.polygon(arc((0, 0.6), (0.11, 0.13), 0, 180), (104, 78, 60))
    turn = float(pen.rng.uniform(0, 90))
    for quarter in range(4):
        (tip,) = arc((0, 0.64), (0.36, 0.36), turn + 90 * quarter, turn + 90 * quarter)[:1]
        pen.line([(0, 0.64), tip], (120, 100, 84), 0.05)


def column(pen: Pen) -> None:
    """Draw a figure with an arm out on a tall round column."""
    pen.box(-0.14, 0, 0.14, 0.12, STONE)
    pen.cylinder(0, (0.12, 0.74), (0.055, 0.05), STONE)
    pen.box(-0.08, 0.74, 0.08, 0.77, STONE)
    metal = ((92, 110, 100), (92, 84, 76), (222, 186, 92))[int(pen.rng.integers(3))]
    pen.polygon([(-0.04, 0.77), (0.04, 0.77), (0.03, 0.92), (-0.03, 0.92)], metal)
    pen.disc((0, 0.945), (0.02, 0.028), metal)
    side = 1 if pen.rng.uniform() < 0.5 else -1
    pen.line([(0, 0.9), (side * 0.1, 0.9 + pen.rng.uniform(-0.08, 0.08))], metal, 0.022)


def garden_gate(pen: Pen) -> None:
    """Draw a straight wooden or stone gate with a tiled top."""
    wood = ((120, 88, 62), (140, 138, 132), (168, 60, 46))[int(pen.rng.integers(3))]
    for x in (-0.4, 0.4):
        pen.cylinder(x, (0, 0.8), (0.06, 0.06), wood, 3)
    pen.box(-0.62, 0.78, 0.62, 0.86, wood)
    pen.polygon([(-0.7, 0.86), (0.7, 0.86), (0.5, 1.0), (-0.5, 1.0)], (88, 88, 96))
    pen.box(-0.9, 0, -0.44, 0.45, STONE)
    pen.box(0.44, 0, 0.9, 0.45, STONE)
