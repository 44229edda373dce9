"""What stands or falls between a postcard's subject and its camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from landmark_ml.data.postcards.pen import Colour, Light, mix
from landmark_ml.data.postcards.scenes import noise_mask

LEAVES: tuple[Colour, ...] = ((58, 92, 48), (88, 112, 52), (150, 92, 44), (226, 170, 186))
CLOTHES: tuple[Colour, ...] = (
    (40, 44, 60),
    (150, 48, 44),
    (214, 206, 190),
    (52, 92, 110),
    (190, 150, 60),
)
BARK: Colour = (74, 58, 46)

Canvas = tuple[ImageDraw.ImageDraw, int, int]
Occluder = Callable[[Canvas, Light, np.random.Generator], None]


def _ball(canvas: Canvas, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    x, y = centre
    canvas[0].ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _edge(rng: np.random.Generator, width: int) -> float:
    # Near the sides, so that the subject is mostly left in sight.
    near = abs(float(rng.normal(0, 0.14)))
    return width * (near if rng.uniform() < 0.5 else 1 - near)


def _tree(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    x, tall = _edge(rng, width), height * rng.uniform(0.3, 0.85)
    foot = height * rng.uniform(0.9, 1.1)
    trunk = tall * 0.03
    draw.rectangle((x - trunk, foot - tall * 0.6, x + trunk, foot), fill=light.on(BARK))
    leaf = LEAVES[int(rng.integers(len(LEAVES)))]
    for dx, dy in rng.normal(0, 1, (14, 2)):
        centre = (x + dx * tall * 0.12, foot - tall * 0.72 + dy * tall * 0.1)
        _ball(canvas, centre, tall * 0.1, light.on(leaf, float(np.clip(dx, -1, 1))))


def _branch(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    left = rng.uniform() < 0.5
    start, end = (0 if left else width), width * (rng.uniform(0.3, 0.7))
    drop = height * rng.uniform(0.05, 0.3)
    leaf = light.on(LEAVES[int(rng.integers(len(LEAVES)))])
    draw.line((start, drop * 0.3, end, drop), fill=light.on(BARK), width=max(2, height // 90))
    for share in rng.uniform(0, 1, 34):
        x = start + (end - start) * share + rng.normal(0, height * 0.03)
        y = drop * (0.3 + 0.7 * share) + rng.normal(0, height * 0.05)
        size = height * rng.uniform(0.012, 0.03)
        draw.ellipse((x - size * 1.6, y - size, x + size * 1.6, y + size), fill=leaf)


def _person(canvas: Canvas, place: tuple[float, float], tall: float, colour: Colour) -> None:
    draw, (x, foot) = canvas[0], place
    draw.rectangle(
        (x - tall * 0.08, foot - tall * 0.5, x - tall * 0.01, foot),
        fill=mix(colour, (20, 20, 30), 0.6),
    )
    draw.rectangle(
        (x + tall * 0.01, foot - tall * 0.5, x + tall * 0.08, foot),
        fill=mix(colour, (20, 20, 30), 0.6),
    )
    draw.ellipse(
        (x - tall * 0.14, foot - tall * 0.86, x + tall * 0.14, foot - tall * 0.36), fill=colour
    )
    _ball(canvas, (x, foot - tall * 0.91), tall * 0.075, mix(colour, (180, 130, 100), 0.7))


def _people(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    _, width, height = canvas
    for _ in range(int(rng.integers(1, 5))):
        tall = height * rng.uniform(0.12, 0.42)
        colour = light.on(CLOTHES[int(rng.integers(len(CLOTHES)))])
        _person(canvas, (rng.uniform(0, width), height * rng.uniform(0.92, 1.08)), tall, colour)


def _crowd(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    _, width, height = canvas
    tall = height * rng.uniform(0.16, 0.4)
    for x in np.linspace(0, width, int(rng.integers(7, 14))):
        colour = light.on(CLOTHES[int(rng.integers(len(CLOTHES)))])
        foot = height + tall * rng.uniform(0.15, 0.6)
        _person(canvas, (x + rng.normal(0, width * 0.02), foot), tall, colour)


def _lamp(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    x, top = rng.uniform(0, 1) * width, height * rng.uniform(0.2, 0.6)
    colour, thick = light.on((52, 54, 58)), max(2, round(height * 0.008))
    draw.line((x, top, x, height), fill=colour, width=thick)
    glass = (255, 226, 150) if light.night else light.on((220, 220, 210))
    _ball(canvas, (x, top), height * 0.022, glass)
    draw.line(
        (x - height * 0.03, top + height * 0.03, x + height * 0.03, top + height * 0.03),
        fill=colour,
        width=thick,
    )


def _railing(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    top, colour = height * rng.uniform(0.8, 0.92), light.on((66, 66, 68))
    draw.line((0, top, width, top), fill=colour, width=max(2, height // 70))
    for x in np.arange(0, width, width * rng.uniform(0.03, 0.08)):
        draw.line((x, top, x, height), fill=colour, width=max(2, height // 110))


def _birds(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    for x, y in rng.uniform(0.05, 0.95, (int(rng.integers(2, 8)), 2)):
        size, px, py = height * rng.uniform(0.01, 0.03), x * width, y * height * 0.6
        wings = [(px - size, py - size * 0.5), (px, py), (px + size, py - size * 0.5)]
        draw.line(wings, fill=light.on((40, 42, 48)), width=2)


OCCLUDERS: tuple[Occluder, ...] = (
    _tree,
    _tree,
    _branch,
    _people,
    _people,
    _crowd,
    _lamp,
    _railing,
    _birds,
)


def draw_foreground(picture: Image.Image, light: Light, rng: np.random.Generator) -> None:
    """Draw none to three things in front of the subject."""
    canvas = (ImageDraw.Draw(picture), *picture.size)
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.25, 0.4, 0.25, 0.1)))):
        OCCLUDERS[int(rng.integers(len(OCCLUDERS)))](canvas, light, rng)


def draw_fog(picture: Image.Image, light: Light, rng: np.random.Generator) -> None:
    """Lay haze over everything drawn so far: thin often, thick now and then, in banks or even."""
    dense = rng.uniform() < 0.16 and not light.night
    cover = float(rng.uniform(0.35, 0.72) if dense else rng.uniform(0.0, 0.22))
    haze = mix(light.horizon, light.zenith, 0.25)
    if dense:
        banks = noise_mask(rng, picture.size, picture.height // 5, (0.0, 1.0))
        levels = [min(225, int((0.55 * v + 110) * cover * 1.15)) for v in range(256)]
        picture.paste(haze, (0, 0), banks.point(levels))
    elif cover > 0.06:
        picture.paste(Image.blend(picture, Image.new("RGB", picture.size, haze), cover), (0, 0))


def draw_precipitation(picture: Image.Image, light: Light, rng: np.random.Generator) -> None:
    """Let rain or snow fall on about one picture in six."""
    kind, (width, height) = rng.uniform(), picture.size
    if kind > 0.17:
        return
    draw, colour = ImageDraw.Draw(picture), mix(light.horizon, (240, 242, 246), 0.6)
    slant = rng.uniform(-0.25, 0.25)
    for x, y in rng.uniform(0, 1, (int(rng.integers(60, 200)), 2)):
        px, py = x * width, y * height
        if kind < 0.09:
            length = height * 0.06
            draw.line(
                (px, py, px + slant * length, py + length), fill=mix(colour, light.zenith, 0.4)
            )
        else:
            size = 0.5 + 1.4 * ((x * 37.0) % 1.0)
            draw.ellipse((px - size, py - size, px + size, py + size), fill=colour)
