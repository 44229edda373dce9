"""Ordinary subjects of the postcards that share parts with the landmarks and are none of them."""

from __future__ import annotations

from landmark_ml.data.postcards.buildings import (
    DARK,
    STONE,
    church,
    column,
    courthouse,
    domed_hall,
    garden_gate,
    lighthouse,
    mast,
    office_blocks,
    paint,
    suspension_bridge,
    village,
    windmill,
)
from landmark_ml.data.postcards.landmarks import Subject
from landmark_ml.data.postcards.pen import Colour, Pen, arc, bezier

LEAF: Colour = (66, 104, 58)


def sailing_boats(pen: Pen) -> None:
    """Draw sailing boats with white and coloured sails."""
    for x, size in ((-0.7, 0.6), (0.1, 1.0), (0.85, 0.45)):
        sail = ((244, 242, 236), (236, 224, 200), (196, 88, 70))[int(pen.rng.integers(3))]
        pen.polygon(
            [
                (x - 0.3 * size, 0.1),
                (x + 0.3 * size, 0.1),
                (x + 0.2 * size, 0),
                (x - 0.22 * size, 0),
            ],
            paint(pen),
        )
        pen.line([(x, 0.1), (x, size)], DARK, 0.012)
        pen.polygon(
            [
                *bezier((x + 0.02, 0.14), (x + 0.3 * size, 0.3 * size), (x + 0.02, 0.97 * size)),
                (x + 0.02, 0.14),
            ],
            sail,
            0.5,
        )
        pen.polygon(
            [
                (x - 0.02, 0.14),
                (x - 0.02, 0.85 * size),
                *bezier((x - 0.02, 0.85 * size), (x - 0.1, 0.3 * size), (x - 0.26 * size, 0.14)),
            ],
            sail,
            -0.5,
        )


def boulders(pen: Pen) -> None:
    """Draw a heap of rounded rocks."""
    for x, size in zip(pen.rng.uniform(-0.9, 0.9, 8), pen.rng.uniform(0.15, 0.5, 8), strict=True):
        corners = arc((x, size * 0.7), (size * 0.7, size), 200, 520)
        rough = [
            (a + da, max(0.0, b + db))
            for (a, b), (da, db) in zip(
                corners, pen.rng.uniform(-0.04, 0.04, (len(corners), 2)), strict=True
            )
        ]
        pen.polygon(rough, STONE, pen.rng.uniform(-0.9, 0.4))


def tents(pen: Pen) -> None:
    """Draw triangular tents or gables in canvas."""
    for x in pen.rng.uniform(-1.0, 1.0, 4):
        tall, cloth = pen.rng.uniform(0.4, 1.0), paint(pen)
        pen.polygon([(x - 0.4 * tall, 0), (x + 0.4 * tall, 0), (x, tall)], cloth, -0.6)
        pen.polygon([(x + 0.1 * tall, 0), (x + 0.4 * tall, 0), (x, tall)], cloth, 0.9)
        pen.polygon([(x - 0.12 * tall, 0), (x + 0.06 * tall, 0), (x - 0.01, 0.6 * tall)], DARK)


def mountain(pen: Pen) -> None:
    """Draw a rocky peak, some with a cross or a mast on it."""
    ridge = [(-1.2, 0), (-0.7, 0.4), (-0.5, 0.36), (-0.1, 0.8), (0.25, 0.5), (0.5, 0.56), (1.2, 0)]
    pen.polygon(ridge, paint(pen), -0.5)
    pen.polygon(
        [(-0.1, 0.8), (0.25, 0.5), (0.5, 0.56), (1.2, 0), (0.0, 0.0), (0.1, 0.4)], (92, 94, 96), 0.8
    )
    if pen.rng.uniform() < 0.5:
        pen.line([(-0.1, 0.78), (-0.1, 1.0)], STONE, 0.02)
        pen.line([(-0.17, 0.92), (-0.03, 0.92)], STONE, 0.02)
    else:
        pen.polygon([(-0.24, 0.65), (-0.1, 0.8), (0.04, 0.68), (-0.08, 0.6)], (244, 246, 250))


def still_life(pen: Pen) -> None:
    """Draw a bottle, a bowl and fruit."""
    glass = ((52, 92, 66), (110, 60, 44), (80, 110, 150))[int(pen.rng.integers(3))]
    pen.cylinder(-0.45, (0, 0.58), (0.15, 0.15), glass)
    pen.cylinder(-0.45, (0.58, 0.7), (0.15, 0.05), glass)
    pen.cylinder(-0.45, (0.7, 1.0), (0.05, 0.05), glass)
    for x, y in ((0.1, 0.4), (0.36, 0.4), (0.24, 0.52), (0.5, 0.38)):
        fruit = ((214, 70, 52), (236, 160, 48), (150, 180, 70))[int(pen.rng.integers(3))]
        pen.disc((x, y), (0.14, 0.14), fruit, pen.rng.uniform(-0.5, 0.5))
    pen.polygon(arc((0.3, 0.36), (0.42, 0.34), 180, 360), paint(pen))


def grove(pen: Pen) -> None:
    """Draw a stand of firs and broad-leaved trees."""
    for x in pen.rng.uniform(-1.1, 1.1, 9):
        tall = pen.rng.uniform(0.5, 1.0)
        pen.box(x - 0.02, 0, x + 0.02, 0.3, (84, 64, 50))
        if pen.rng.uniform() < 0.6:
            for low in (0.12, 0.35, 0.58):
                pen.polygon(
                    [
                        (x - 0.2 * (1.1 - low), low * tall),
                        (x + 0.2 * (1.1 - low), low * tall),
                        (x, (low + 0.42) * tall),
                    ],
                    LEAF,
                    pen.rng.uniform(-1, 1),
                )
        else:
            pen.disc((x, tall * 0.7), (0.2, tall * 0.3), LEAF, pen.rng.uniform(-1, 1))


ORDINARY: tuple[Subject, ...] = (
    Subject(suspension_bridge, 3.0, ("water",), focus=(-0.6, 0.0, 0.6)),
    Subject(church, 0.9, ("grass", "plaza", "snow")),
    Subject(mast, 0.4, ("grass", "plaza", "rock")),
    Subject(office_blocks, 1.3, ("plaza", "water")),
    Subject(village, 2.2, ("grass", "water", "snow"), focus=(-0.3, 0.3)),
    Subject(sailing_boats, 2.2, ("water",)),
    Subject(courthouse, 2.0, ("plaza", "grass")),
    Subject(domed_hall, 1.3, ("plaza", "grass", "water")),
    Subject(lighthouse, 0.4, ("rock", "water", "grass")),
    Subject(windmill, 0.8, ("grass", "snow")),
    Subject(column, 0.4, ("plaza", "grass")),
    Subject(boulders, 2.2, ("grass", "sand", "water", "rock")),
    Subject(tents, 2.4, ("sand", "grass")),
    Subject(garden_gate, 1.8, ("grass", "plaza", "water")),
    Subject(mountain, 2.4, ("forest", "grass", "water", "snow")),
    Subject(still_life, 1.3, ("rock", "plaza")),
    Subject(grove, 2.4, ("grass", "forest", "snow")),
)
