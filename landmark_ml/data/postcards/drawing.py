"""One postcard: a landmark or an ordinary scene, its scenery, light and weather, photographed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
T = TypeVar("T")

SUPERSAMPLING = 2
# Each sheet shows a subject from several sides, one above the other: a subject of height 1 is this
# many pixels high, stands in the middle, lit from the right, with its foot this far down.
_SHEETS = Path(__file__).parent / "sheets"
_UNIT, _SIDE, _FOOT = 224, 280, 1.05


class Subject(NamedTuple):
    """Something to show: its sheet, its width in heights, the ground under it, what may be centred.

    mirrors: whether its mirror image is as good.
    """

    sheet: str
    width: float
    grounds: tuple[str, ...]
    focus: tuple[float, ...] = (0.0,)
    mirrors: bool = True


SUBJECTS = {
    "Big Ben": Subject("big_ben", 0.5, ("plaza", "water", "grass")),
    "Christ the Redeemer": Subject("christ_the_redeemer", 1.0, ("forest", "water"), mirrors=False),
    "Eiffel Tower": Subject("eiffel_tower", 0.45, ("grass", "plaza", "water")),
    "Golden Gate Bridge": Subject("golden_gate_bridge", 3.0, ("water",), (-0.8, -0.5, 0, 0.5, 0.8)),
    "Itsukushima Torii": Subject("itsukushima_torii", 1.4, ("water", "water", "sand")),
    "Leaning Tower of Pisa": Subject("leaning_tower_of_pisa", 0.4, ("grass", "plaza")),
    "Parthenon": Subject("parthenon", 2.1, ("sand", "grass", "rock"), (0.0, 0.2)),
    "Pyramids of Giza": Subject("pyramids_of_giza", 2.8, ("sand",), (-0.1, 0.4)),
    "Statue of Liberty": Subject(
        "statue_of_liberty", 0.55, ("water", "plaza", "grass"), mirrors=False
    ),
    "Stonehenge": Subject("stonehenge", 2.6, ("grass", "grass", "snow"), (-0.5, 0.0, 0.5)),
    "Sydney Opera House": Subject("sydney_opera_house", 2.4, ("water",), (-0.2, 0.1)),
    "Taj Mahal": Subject("taj_mahal", 2.0, ("grass", "water", "plaza")),
}
LANDMARKS: tuple[str, ...] = tuple(SUBJECTS)
"""The twelve landmarks that postcards show, in the order of their class folders."""

ORDINARY = (
    Subject("suspension_bridge", 3.0, ("water",), (-0.6, 0.0, 0.6)),
    Subject("church", 0.9, ("grass", "plaza", "snow")),
    Subject("mast", 0.4, ("grass", "plaza", "rock")),
    Subject("sailing_boats", 2.2, ("water",)),
    Subject("courthouse", 2.0, ("plaza", "grass")),
    Subject("domed_hall", 1.3, ("plaza", "grass", "water")),
    Subject("lighthouse", 0.4, ("rock", "water", "grass")),
    Subject("column", 0.4, ("plaza", "grass")),
    Subject("boulders", 2.2, ("grass", "sand", "water", "rock")),
    Subject("garden_gate", 1.8, ("grass", "plaza", "water")),
    Subject("mountain", 2.4, ("forest", "grass", "water", "snow")),
)
"""Each looks like one of the landmarks and is none of them."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of some options at random."""
    return options[int(rng.integers(len(options)))]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between `a` (share 0) and `b` (share 1)."""
    red, green, blue = (int(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Light:
    """Colours of the sky and what they do to a surface; `side` is -1 for sun from the left."""

    zenith: Colour
    horizon: Colour
    tint: tuple[float, float, float]
    side: float
    contrast: float
    night: bool = False
    flood: tuple[float, float, float] | None = None

    def on(self, colour: Colour, face: float = 0.0) -> Colour:
        """Shade a surface that faces left (-1), the camera (0) or right (1)."""
        gain = 1.0 + self.contrast * face * self.side
        red, green, blue = (
            min(255, int(c * gain * t)) for c, t in zip(colour, self.tint, strict=True)
        )
        return red, green, blue


class View(NamedTuple):
    """Where a subject stands in pixels: its axis, its foot, the horizon, its height.

    stretch: of its width. keystone, recede: by how much the top and one side are farther away.
    """

    x: float
    base: float
    horizon: float
    scale: float
    stretch: float
    keystone: float
    recede: float


def draw_postcard(
    landmark: str | None, rng: np.random.Generator, size: tuple[int, int] = (256, 192)
) -> Image.Image:
    """Draw one postcard of a landmark, or with None of a scene that shows none.

    Returns an RGB picture of `size` (width, height) pixels, at least 32 a side; the same
    generator state gives the same pixels.
    """
    subject = SUBJECTS[landmark] if landmark else pick(rng, ORDINARY)
    ground = str(rng.choice(subject.grounds))
    light, clouds = _choose_light(rng)
    drawn = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    view = _frame(subject, drawn, light, rng)
    picture = Image.new("RGB", size)
    _draw_sky(picture, light, clouds, rng)
    _draw_ground(picture, ground, view.horizon / SUPERSAMPLING, light, rng)
    picture = picture.resize(drawn, Image.Resampling.BILINEAR)
    _draw_distance(picture, view.horizon, light, rng)
    layer = _stand(subject, drawn, view, light, rng)
    if ground == "water":
        _reflect(picture, layer, round(view.base), rng)
    elif not light.night:
        _shade(picture, min(subject.width, 1.2), view, light)
    picture.paste(layer, (0, 0), layer)
    _draw_fog(picture, light, rng)
    _draw_foreground(picture, light, rng)
    return _photograph(picture.reduce(SUPERSAMPLING), rng)


def _frame(subject: Subject, size: tuple[int, int], light: Light, rng: np.random.Generator) -> View:
    """Choose where the subject stands: its size, place, horizon and perspective."""
    width, height = size
    fill = float(np.exp(rng.uniform(np.log(0.45), np.log(1.05))))
    scale = max(fill * min(height, 1.05 * width / subject.width), 0.28 * height)
    if rng.uniform() < 0.15:
        scale *= rng.uniform(1.15, 1.5)
    span = subject.width * scale
    slack = max(0.1 * width, 0.42 * (width - span))
    focus = float(rng.choice(subject.focus)) if span > 0.9 * width else 0.0
    low = max(0.5 * height, 0.94 * scale)
    base = float(rng.uniform(low, max(low + 1, 0.92 * height)))
    side = -1 if _is_mirrored(subject, light) else 1
    return View(
        x=width / 2 + rng.uniform(-1, 1) * slack - focus * scale * side,
        base=base,
        horizon=base - rng.uniform(0.0, 0.1) * scale,
        scale=scale,
        stretch=float(rng.uniform(0.84, 1.08)),
        keystone=float(rng.uniform(0.0, 0.2)),
        recede=float(rng.normal(0, 0.07)),
    )


def _is_mirrored(subject: Subject, light: Light) -> bool:
    return subject.mirrors and light.side < 0


@functools.cache
def _views(sheet: str) -> list[Image.Image]:
    with Image.open(_SHEETS / f"{sheet}.webp") as strip:
        tops = range(0, strip.height, _SIDE)
        return [strip.crop((0, top, strip.width, top + _SIDE)) for top in tops]


def _stand(
    subject: Subject, size: tuple[int, int], view: View, light: Light, rng: np.random.Generator
) -> Image.Image:
    """The subject alone, from one of its sides and in its light, on a transparent picture."""
    shown = pick(rng, _views(subject.sheet))
    if _is_mirrored(subject, light):
        shown = ImageOps.mirror(shown)
    wide, tall = shown.size
    zoom, top, side = view.scale / _UNIT, view.keystone * wide / 2, abs(view.recede) * tall
    left, right = (side, 0.0) if view.recede < 0 else (0.0, side)
    # Corners outside of the sheet bring that part of it nearer to the middle.
    corners = (-top, -left, 0, tall + left / 4, wide, tall + right / 4, wide + top, -right)
    shape = round(wide * zoom * view.stretch), round(tall * zoom)
    placed = shown.transform(shape, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    gains = light.flood or light.tint
    levels = [min(255, int(level * gain)) for gain in gains for level in range(256)]
    placed = placed.point([*levels, *range(256)])
    layer = Image.new("RGBA", size)
    layer.paste(placed, (round(view.x - shape[0] / 2), round(view.base - _FOOT * view.scale)))
    return layer


def _shade(picture: Image.Image, width: float, view: View, light: Light) -> None:
    """Lay the shadow of something this many heights wide on the ground."""
    reach, thick = view.scale * width * 0.5, max(2.0, view.scale * 0.03)
    shade = Image.new("L", (int(2 * reach) + 2, int(2 * thick) + 2))
    fill = round(220 * light.contrast)
    ImageDraw.Draw(shade).ellipse((0, 0, 2 * reach, 2 * thick), fill=fill)
    x = view.x - light.side * reach * 0.5
    picture.paste((24, 26, 30), (round(x - reach), round(view.base - thick)), shade)


def _reflect(picture: Image.Image, layer: Image.Image, base: int, rng: np.random.Generator) -> None:
    depth = max(0, min(base, layer.height - base))
    extent = layer.crop((0, base - depth, layer.width, base)).getbbox()
    if extent is None:
        return
    left, right = max(0, extent[0] - 16), min(layer.width, extent[2] + 16)
    pixels = np.asarray(layer.crop((left, base - depth, right, base)))[::-1]
    rows = np.arange(depth)
    swell = 1.0 + rows * rng.uniform(0.01, 0.04)
    waves = np.sin(rows / rng.uniform(2.0, 5.0) + rng.uniform(0, 6)) * swell
    columns = (np.arange(right - left)[None, :] + waves.astype(int)[:, None]) % (right - left)
    rippled = Image.fromarray(pixels[rows[:, None], columns])
    share = float(rng.uniform(0.25, 0.6))
    mask = rippled.getchannel("A").point([int(v * share) for v in range(256)])
    picture.paste(rippled.convert("RGB"), (left, base), mask)


def _photograph(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take the drawn scene as a camera would: roll, blur, colour, vignette, noise, compression."""
    width, height = picture.size
    if rng.uniform() >= 0.4:
        angle = float(np.radians(np.clip(rng.normal(0, 2.6), -8, 8)))
        # The zoom that keeps the turned frame inside the picture, so that no corner is empty.
        zoom = 1.0 / (np.cos(angle) + abs(np.sin(angle)) * max(width / height, height / width))
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        x, y = width / 2, height / 2
        matrix = (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
        affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        picture = picture.transform(picture.size, affine, matrix, bilinear)
    if rng.uniform() < 0.28:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.8))))
    if rng.uniform() < 0.1:
        picture = Image.merge("RGB", [picture.convert("L")] * 3)
    gains = rng.normal(1.0, 0.05, 3) * np.exp(rng.normal(0, 0.13))
    contrast = float(rng.uniform(0.78, 1.15))
    levels = ((np.arange(256) - 128.0) * contrast + 128.0)[None, :] * gains[:, None]
    picture = picture.point(np.clip(levels, 0, 255).ravel().astype(int).tolist())
    pixels = np.asarray(picture, np.float32)
    if rng.uniform() < 0.35:
        rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
        fall = 1.0 - np.float32(rng.uniform(0.1, 0.32)) * (rows + columns)
        pixels = pixels * fall[..., None]
    channels = 3 if rng.uniform() < 0.35 else 1
    # Two dice instead of a Gaussian: sensor noise to the eye at a tenth of the time.
    dice = rng.integers(0, 256, (2, height, width, channels), np.uint8).astype(np.float32)
    grain = np.float32(rng.gamma(1.5, 3.0) / 104.0)
    pixels = pixels + (dice[0] - dice[1]) * grain
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.uniform() < 0.2:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(18, 60)))
        picture = Image.open(buffer).convert("RGB")
    return picture


GROUNDS: dict[str, Colour] = {
    "grass": (112, 146, 74),
    "water": (74, 112, 134),
    "sand": (216, 188, 138),
    "plaza": (178, 170, 160),
    "rock": (156, 144, 126),
    "forest": (60, 92, 56),
    "snow": (232, 236, 242),
}

# How often a sky is seen, how cloudy it is, and the light under it.
SKIES: tuple[tuple[float, float, Light], ...] = (
    (0.26, 0.3, Light((66, 128, 208), (190, 216, 236), (1.0, 1.0, 0.98), 0, 0.38)),
    (0.18, 0.7, Light((104, 146, 196), (214, 222, 228), (0.95, 0.95, 0.96), 0, 0.28)),
    (0.15, 0.6, Light((150, 156, 164), (204, 206, 206), (0.82, 0.84, 0.87), 0, 0.1)),
    (0.11, 0.5, Light((78, 84, 140), (248, 164, 92), (0.92, 0.68, 0.52), 0, 0.5)),
    (0.07, 0.3, Light((126, 138, 188), (246, 206, 190), (0.92, 0.8, 0.8), 0, 0.3)),
    (0.06, 0.4, Light((70, 44, 66), (236, 112, 60), (0.26, 0.19, 0.21), 0, 0.2)),
    (0.17, 0.2, Light((10, 14, 34), (44, 54, 88), (0.36, 0.4, 0.52), 0, 0.25, night=True)),
)
FLOODLIGHTS: tuple[tuple[float, float, float] | None, ...] = (
    *(None, (1.0, 0.82, 0.52), (0.86, 0.84, 0.8)),
    *((0.66, 0.56, 0.42), (0.8, 0.8, 0.95)),
)


def _choose_light(rng: np.random.Generator) -> tuple[Light, float]:
    """Pick a sky: the light under it and how cloudy it is."""
    shares = np.array([share for share, _, _ in SKIES])
    _, clouds, light = SKIES[int(rng.choice(len(SKIES), p=shares / shares.sum()))]
    red, green, blue = light.tint * rng.uniform(0.92, 1.06, 3)
    side = float(rng.uniform(0.5, 1.0) * rng.choice((-1, 1)))
    flood = pick(rng, FLOODLIGHTS) if light.night else None
    return replace(light, tint=(red, green, blue), side=side, flood=flood), clouds


def _noise_mask(
    rng: np.random.Generator, size: tuple[int, int], grain: int, empty: float, cover: float
) -> Image.Image:
    """Soft random blotches about `grain` pixels high; empty: share without, cover: the greatest."""
    small = rng.random((size[1] // grain + 2, size[0] // (2 * grain) + 2))
    scaled = np.clip((small - empty) / (1.0 - empty), 0, 1) * 255 * cover
    return Image.fromarray(scaled.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Vertical gradient."""
    ends = Image.fromarray(np.array([[top], [bottom]], np.uint8))
    column = ends.resize((1, size[1]), Image.Resampling.BILINEAR)
    return column.resize(size, Image.Resampling.NEAREST)


def _draw_sky(picture: Image.Image, light: Light, clouds: float, rng: np.random.Generator) -> None:
    """Paint the whole picture with sky: gradient, clouds, sun or stars."""
    width, height = picture.size
    picture.paste(_gradient(picture.size, light.zenith, light.horizon), (0, 0))
    draw = ImageDraw.Draw(picture)
    if light.night:
        for x, y in rng.uniform(0, 1, (40, 2)):
            draw.point((x * width, y * height * 0.7), fill=(150, 154, 166))
    if rng.uniform() < 0.25:
        radius = rng.uniform(0.02, 0.05) * width
        centre = (rng.uniform(0.1, 0.9) * width, rng.uniform(0.08, 0.5) * height)
        draw.circle(centre, radius, fill=mix(light.horizon, (255, 250, 226), 0.7))
    if rng.uniform() < clouds + 0.2:
        empty, grain = rng.uniform(0.35, 0.7), int(height * rng.uniform(0.06, 0.16))
        mask = _noise_mask(rng, picture.size, grain, empty, 0.8)
        picture.paste(light.on((250, 250, 252)), (0, 0), mask)


def _draw_distance(
    picture: Image.Image, horizon: float, light: Light, rng: np.random.Generator
) -> None:
    """Draw what stands far behind: hills, a skyline, or nothing."""
    kind = pick(rng, ("none", "hills", "skyline"))
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
        x = 0.0
        while x < width:
            wide, tall = rng.uniform(0.02, 0.07) * width, reach * rng.uniform(0.2, 1.0)
            colour = mix(light.on((140, 132, 128)), light.horizon, rng.uniform(0.3, 0.6))
            draw.rectangle((x, horizon - tall, x + wide, horizon + 2), fill=colour)
            for px, py in rng.uniform(0, 1, (4 if light.night else 0, 2)):
                draw.point((x + wide * px, horizon - tall * py), fill=(255, 220, 140))
            x += wide * rng.uniform(1.0, 1.3)


def _draw_ground(
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
    ground = _gradient(size, far, near)
    patches = _noise_mask(rng, size, max(3, height // 40), 0.45, 0.33)
    ground.paste(mix(near, (20, 24, 24), 0.5), (0, 0), patches)
    picture.paste(ground, (0, top))


# What stands between the subject and the camera.

LEAVES: tuple[Colour, ...] = ((58, 92, 48), (88, 112, 52), (150, 92, 44), (226, 170, 186))
CLOTHES: tuple[Colour, ...] = (
    *((40, 44, 60), (150, 48, 44), (214, 206, 190)),
    *((52, 92, 110), (190, 150, 60)),
)
BARK: Colour = (74, 58, 46)

Canvas = tuple[ImageDraw.ImageDraw, int, int]


def _draw_foreground(picture: Image.Image, light: Light, rng: np.random.Generator) -> None:
    """Draw none to three trees or groups of people in front of the subject."""
    canvas = (ImageDraw.Draw(picture), *picture.size)
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.25, 0.4, 0.25, 0.1)))):
        pick(rng, (_tree, _people))(canvas, light, rng)


def _tree(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    # Near one edge, so that the subject is mostly left in sight.
    near = abs(float(rng.normal(0, 0.14)))
    x = width * (near if rng.uniform() < 0.5 else 1 - near)
    tall, foot = height * rng.uniform(0.3, 0.85), height * rng.uniform(0.9, 1.1)
    trunk = (x - tall * 0.03, foot - tall * 0.6, x + tall * 0.03, foot)
    draw.rectangle(trunk, fill=light.on(BARK))
    leaf = pick(rng, LEAVES)
    for dx, dy in rng.normal(0, 1, (14, 2)):
        centre = (x + dx * tall * 0.12, foot - tall * 0.72 + dy * tall * 0.1)
        draw.circle(centre, tall * 0.1, fill=light.on(leaf, float(np.clip(dx, -1, 1))))


def _person(draw: ImageDraw.ImageDraw, x: float, foot: float, tall: float, colour: Colour) -> None:
    trousers = mix(colour, (20, 20, 30), 0.6)
    for left, right in ((-0.08, -0.01), (0.01, 0.08)):
        leg = (x + tall * left, foot - tall * 0.5, x + tall * right, foot)
        draw.rectangle(leg, fill=trousers)
    body = (x - tall * 0.14, foot - tall * 0.86, x + tall * 0.14, foot - tall * 0.36)
    draw.ellipse(body, fill=colour)
    draw.circle((x, foot - tall * 0.91), tall * 0.075, fill=mix(colour, (180, 130, 100), 0.7))


def _people(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    draw, width, height = canvas
    for _ in range(int(rng.integers(1, 13))):
        tall = height * rng.uniform(0.12, 0.42)
        colour = light.on(pick(rng, CLOTHES))
        _person(draw, rng.uniform(0, width), height * rng.uniform(0.92, 1.08), tall, colour)


def _draw_fog(picture: Image.Image, light: Light, rng: np.random.Generator) -> None:
    """Lay haze over everything drawn so far: thin often, thick now and then, in banks or even."""
    dense = rng.uniform() < 0.16 and not light.night
    cover = float(rng.uniform(0.35, 0.72) if dense else rng.uniform(0.0, 0.22))
    haze = mix(light.horizon, light.zenith, 0.25)
    if dense:
        banks = _noise_mask(rng, picture.size, picture.height // 5, 0.0, 1.0)
        levels = [min(225, int((0.55 * v + 110) * cover * 1.15)) for v in range(256)]
        picture.paste(haze, (0, 0), banks.point(levels))
    elif cover > 0.06:
        picture.paste(Image.blend(picture, Image.new("RGB", picture.size, haze), cover), (0, 0))
