"""The scene of a postcard: light, sky, distance and ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from landmark_ml.data.postcards.pen import Colour, Light, mix

GROUNDS: dict[str, Colour] = {
    "grass": (112, 146, 74),
    "water": (74, 112, 134),
    "sand": (216, 188, 138),
    "plaza": (178, 170, 160),
    "rock": (156, 144, 126),
    "forest": (60, 92, 56),
    "snow": (232, 236, 242),
}

Tint = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sky:
    """How often a sky is seen, its two colours, the tint it lays on things, and its contrast."""

    share: float
    zenith: Colour
    horizon: Colour
    tint: Tint
    contrast: float
    clouds: float
    night: bool = False


SKIES: tuple[Sky, ...] = (
    Sky(0.26, (66, 128, 208), (190, 216, 236), (1.0, 1.0, 0.98), 0.38, 0.3),
    Sky(0.18, (104, 146, 196), (214, 222, 228), (0.95, 0.95, 0.96), 0.28, 0.7),
    Sky(0.15, (150, 156, 164), (204, 206, 206), (0.82, 0.84, 0.87), 0.1, 0.6),
    Sky(0.11, (78, 84, 140), (248, 164, 92), (0.92, 0.68, 0.52), 0.5, 0.5),
    Sky(0.07, (126, 138, 188), (246, 206, 190), (0.92, 0.8, 0.8), 0.3, 0.3),
    Sky(0.06, (70, 44, 66), (236, 112, 60), (0.26, 0.19, 0.21), 0.2, 0.4),
    Sky(0.17, (10, 14, 34), (44, 54, 88), (0.36, 0.4, 0.52), 0.25, 0.2, night=True),
)
FLOODLIGHTS: tuple[Tint | None, ...] = (
    None,
    (1.0, 0.82, 0.52),
    (0.86, 0.84, 0.8),
    (0.66, 0.56, 0.42),
    (0.8, 0.8, 0.95),
)


def choose_light(rng: np.random.Generator) -> tuple[Light, Sky]:
    """Pick a sky and the light under it."""
    shares = np.array([sky.share for sky in SKIES])
    sky = SKIES[int(rng.choice(len(SKIES), p=shares / shares.sum()))]
    wobble = rng.uniform(0.92, 1.06, 3)
    tint = (sky.tint[0] * wobble[0], sky.tint[1] * wobble[1], sky.tint[2] * wobble[2])
    side = float(rng.uniform(0.5, 1.0) * rng.choice((-1, 1)))
    flood = FLOODLIGHTS[int(rng.integers(len(FLOODLIGHTS)))] if sky.night else None
    return Light(sky.zenith, sky.horizon, tint, side, sky.contrast, sky.night, flood), sky


def noise_mask(
    rng: np.random.Generator, size: tuple[int, int], grain: int, levels: tuple[float, float]
) -> Image.Image:
    """Soft random blotches about `grain` pixels high; levels: share left empty, greatest cover."""
    (width, height), (empty, most) = size, levels
    small = rng.random((height // grain + 2, width // (2 * grain) + 2))
    scaled = np.clip((small - empty) / (1.0 - empty), 0, 1) * 255 * most
    return Image.fromarray(scaled.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Vertical gradient."""
    ends = Image.fromarray(np.array([[top], [bottom]], np.uint8))
    column = ends.resize((1, size[1]), Image.Resampling.BILINEAR)
    return column.resize(size, Image.Resampling.NEAREST)


def draw_sky(picture: Image.Image, light: Light, sky: Sky, rng: np.random.Generator) -> None:
    """Paint the whole picture with sky: gradient, clouds, sun or stars."""
    width, height = picture.size
    picture.paste(gradient(picture.size, light.zenith, light.horizon), (0, 0))
    draw = ImageDraw.Draw(picture)
    if light.night:
        for x, y in rng.uniform(0, 1, (40, 2)):
            draw.point((x * width, y * height * 0.7), fill=(150, 154, 166))
    if rng.uniform() < 0.25:
        radius = rng.uniform(0.02, 0.05) * width
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.08, 0.5) * height
        disc = mix(light.horizon, (255, 250, 226), 0.7)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=disc)
    if rng.uniform() < sky.clouds + 0.2:
        cut, grain = rng.uniform(0.35, 0.7), int(height * rng.uniform(0.06, 0.16))
        picture.paste(
            light.on((250, 250, 252)), (0, 0), noise_mask(rng, picture.size, grain, (cut, 0.8))
        )


def draw_distance(
    picture: Image.Image, horizon: float, light: Light, rng: np.random.Generator
) -> None:
    """Draw what stands far behind: hills, a skyline, a line of trees, or nothing."""
    kind = ("none", "hills", "hills", "skyline", "trees")[int(rng.integers(5))]
    width, height = picture.size
    draw = ImageDraw.Draw(picture)
    reach = height * rng.uniform(0.03, 0.2)
    if kind == "hills":
        for share in (0.7, 0.4):
            rise = np.cumsum(rng.normal(0, 0.25, 13))
            rise = reach * share * (0.5 + (rise - rise.min()) / (np.ptp(rise) + 1e-6))
            line = [(width * i / 12, horizon - r) for i, r in enumerate(rise)]
            colour = mix(light.on((70, 96, 84)), light.horizon, share)
            draw.polygon([(0, horizon + 2), *line, (width, horizon + 2)], fill=colour)
    elif kind == "skyline":
        _draw_skyline(draw, picture.size, (horizon, reach), light, rng)
    elif kind == "trees":
        for x in rng.uniform(0, width, 26):
            r = reach * rng.uniform(0.3, 0.6)
            colour = mix(light.on((62, 90, 56)), light.horizon, 0.3)
            draw.ellipse((x - r * 1.3, horizon - r, x + r * 1.3, horizon + r), fill=colour)


def _draw_skyline(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    line: tuple[float, float],
    light: Light,
    rng: np.random.Generator,
) -> None:
    horizon, reach = line
    x = 0.0
    while x < size[0]:
        wide, tall = rng.uniform(0.02, 0.07) * size[0], reach * rng.uniform(0.2, 1.0)
        colour = mix(light.on((140, 132, 128)), light.horizon, rng.uniform(0.3, 0.6))
        draw.rectangle((x, horizon - tall, x + wide, horizon + 2), fill=colour)
        if light.night:
            for px, py in rng.uniform(0, 1, (4, 2)):
                draw.point((x + wide * px, horizon - tall * py), fill=(255, 220, 140))
        x += wide * rng.uniform(1.0, 1.3)


def draw_ground(
    picture: Image.Image, kind: str, horizon: float, light: Light, rng: np.random.Generator
) -> None:
    """Fill everything under the horizon with grass, water, sand, paving, rock, forest or snow."""
    width, height = picture.size
    top = max(0, round(horizon))
    if top >= height:
        return
    red, green, blue = np.clip(np.array(GROUNDS[kind]) + rng.normal(0, 9, 3), 0, 255)
    near = light.on((int(red), int(green), int(blue)))
    far = mix(near, light.horizon, 0.75 if kind == "water" else 0.4)
    size = (width, height - top)
    ground = gradient(size, far, near)
    patches = noise_mask(rng, size, max(3, height // 40), (0.45, 0.33))
    ground.paste(mix(near, (20, 24, 24), 0.5), (0, 0), patches)
    picture.paste(ground, (0, top))


def draw_ground_lines(
    picture: Image.Image, kind: str, horizon: float, light: Light, rng: np.random.Generator
) -> None:
    """Draw glints on water and joints in paving; leave other ground as it is."""
    width, depth = picture.width, picture.height - horizon
    if depth <= 0 or kind not in ("water", "plaza"):
        return
    draw, base = ImageDraw.Draw(picture), light.on(GROUNDS[kind])
    if kind == "water":
        for x, y, bright in rng.uniform(0, 1, (60, 3)):
            left, row = x * width, horizon + y * y * depth
            right = left + width * (0.01 + 0.05 * y)
            draw.line((left, row, right, row), fill=mix(base, light.horizon, bright), width=2)
    else:
        centre, colour = width * rng.uniform(0.2, 0.8), mix(base, (70, 66, 62), 0.25)
        for i in range(-12, 13):
            start, end = centre + i * width * 0.02, centre + i * width * 0.22
            draw.line((start, horizon, end, picture.height), fill=colour, width=2)
