"""One postcard: a landmark or an ordinary scene, framed, lit, and photographed."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from landmark_ml.data.postcards.landmarks import SUBJECTS
from landmark_ml.data.postcards.ordinary import ORDINARY
from landmark_ml.data.postcards.pen import Pen, View, pick
from landmark_ml.data.postcards.scenery import (
    choose_light,
    draw_distance,
    draw_fog,
    draw_foreground,
    draw_ground,
    draw_ground_lines,
    draw_precipitation,
    draw_sky,
)

if TYPE_CHECKING:
    from landmark_ml.data.postcards.pen import Subject

LANDMARKS: tuple[str, ...] = tuple(SUBJECTS)
"""The twelve landmarks that postcards show, in the order of their class folders."""

SUPERSAMPLING = 2
SEPIA = np.array((1.08, 0.92, 0.7))


def draw_postcard(
    landmark: str | None, rng: np.random.Generator, size: tuple[int, int] = (256, 192)
) -> Image.Image:
    """Draw one postcard of a landmark, or with None of a scene that shows none.

    Returns an RGB picture of `size` (width, height) pixels, at least 32 a side; the same
    generator state gives the same pixels. Raises ValueError for an unknown landmark or a smaller
    size.
    """
    if min(size) < 32:
        raise ValueError(f"size {size} is too small to show anything: give at least (32, 32)")
    if landmark is not None and landmark not in SUBJECTS:
        raise ValueError(f"no postcard of {landmark!r}: choose one of {', '.join(LANDMARKS)}")
    subject = SUBJECTS[landmark] if landmark else pick(rng, ORDINARY)
    ground = str(rng.choice(subject.grounds))
    light, clouds = choose_light(rng)
    drawn = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    view = _frame(subject, drawn, rng)
    picture = Image.new("RGB", size)
    draw_sky(picture, light, clouds, rng)
    draw_ground(picture, ground, view.horizon / SUPERSAMPLING, light, rng)
    picture = picture.resize(drawn, Image.Resampling.BILINEAR)
    draw_distance(picture, view.horizon, light, rng)
    draw_ground_lines(picture, ground, view.horizon, light, rng)
    pen = Pen(drawn, view, light, rng)
    subject.draw(pen)
    _set_into(picture, subject, pen, in_water=ground == "water")
    draw_fog(picture, light, rng)
    draw_foreground(picture, light, rng)
    picture = picture.reduce(SUPERSAMPLING)
    draw_precipitation(picture, light, rng)
    return _photograph(picture, rng)


def _frame(subject: Subject, size: tuple[int, int], rng: np.random.Generator) -> View:
    """Choose where the subject stands: its size, place, horizon and perspective."""
    width, height = size
    fill = float(np.exp(rng.uniform(np.log(0.45), np.log(1.05))))
    scale = max(fill * min(height, 1.05 * width / subject.width), 0.28 * height)
    if rng.uniform() < 0.15:
        scale *= rng.uniform(1.15, 1.5)
    span = subject.width * scale
    slack = max(0.1 * width, 0.42 * (width - span))
    focus = float(rng.choice(subject.focus)) if span > 0.9 * width else 0.0
    mirrored = subject.mirrors and bool(rng.uniform() < 0.5)
    stretch = float(rng.uniform(0.84, 1.08))
    low = max(0.5 * height, 0.94 * scale)
    base = float(rng.uniform(low, max(low + 1, 0.92 * height)))
    eye = float(rng.uniform(0.0, 0.1))
    return View(
        x=width / 2 + rng.uniform(-1, 1) * slack - focus * scale * (-1 if mirrored else 1),
        horizon=base - eye * scale,
        scale=scale,
        eye=eye,
        foreshortening=float(rng.normal(0, 0.14)) / max(1.0, 0.6 * subject.width),
        keystone=float(rng.uniform(0.0, 0.22)),
        stretch=stretch,
        mirrored=mirrored,
        turn=float(rng.uniform(-1, 1)),
    )


def _set_into(picture: Image.Image, subject: Subject, pen: Pen, *, in_water: bool) -> None:
    """Set the drawn subject into the picture, with its reflection in water or shadow on land."""
    extent = pen.layer.getbbox()
    if extent is None:
        return
    view, light, base = pen.view, pen.light, round(pen.view.base)
    if in_water and 0 < base < picture.height:
        _reflect(picture, pen.layer, base, pen.rng)
    elif not light.night:
        reach = view.scale * min(subject.width, 1.2) * 0.5
        x, thick = view.x - light.side * reach * 0.5, max(2.0, view.scale * 0.03)
        shade = Image.new("L", (int(2 * reach) + 2, int(2 * thick) + 2))
        fill = round(220 * light.contrast)
        ImageDraw.Draw(shade).ellipse((0, 0, 2 * reach, 2 * thick), fill=fill)
        picture.paste((24, 26, 30), (round(x - reach), round(view.base - thick)), shade)
    cut = pen.layer.crop(extent)
    picture.paste(cut, extent[:2], cut)


def _reflect(picture: Image.Image, layer: Image.Image, base: int, rng: np.random.Generator) -> None:
    depth = min(base, layer.height - base)
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
    picture = _develop(_blur(_roll(picture, rng), rng), rng)
    width, height = picture.size
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


def _roll(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    if rng.uniform() < 0.4:
        return picture
    angle = float(np.radians(np.clip(rng.normal(0, 2.6), -8, 8)))
    width, height = picture.size
    # The zoom that keeps the turned frame inside the picture, so that no corner is empty.
    zoom = 1.0 / (np.cos(angle) + abs(np.sin(angle)) * max(width / height, height / width))
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    x, y = width / 2, height / 2
    matrix = (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return picture.transform(picture.size, affine, matrix, bilinear)


def _blur(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    kind = rng.uniform()
    if kind < 0.2:
        return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.8))))
    if kind < 0.28:
        kernel = np.zeros((5, 5))
        if rng.uniform() < 0.7:
            kernel[2, :] = 1
        else:
            np.fill_diagonal(kernel, 1)
        return picture.filter(ImageFilter.Kernel((5, 5), kernel.ravel().tolist()))
    return picture


def _develop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    film = rng.uniform()
    if film < 0.1:
        picture = Image.merge("RGB", [picture.convert("L")] * 3)
    gains = rng.normal(1.0, 0.05, 3) * np.exp(rng.normal(0, 0.13))
    gains = gains * SEPIA if film < 0.05 else gains
    contrast = float(rng.uniform(0.78, 1.15))
    levels = ((np.arange(256) - 128.0) * contrast + 128.0)[None, :] * gains[:, None]
    return picture.point(np.clip(levels, 0, 255).ravel().astype(int).tolist())
