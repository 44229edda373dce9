"""How a postcard's subject is set into its scene: framing, shadow and reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from landmark_ml.data.postcards.pen import Pen, View

if TYPE_CHECKING:
    from landmark_ml.data.postcards.landmarks import Subject


def frame_subject(subject: Subject, size: tuple[int, int], rng: np.random.Generator) -> View:
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


def draw_subject(picture: Image.Image, subject: Subject, pen: Pen, *, in_water: bool) -> None:
    """Set the subject into the picture with its reflection in water or its shadow on land."""
    subject.draw(pen)
    extent = pen.layer.getbbox()
    if extent is None:
        return
    base = round(pen.view.base)
    if in_water and 0 < base < picture.height:
        _paste_reflection(picture, pen.layer, base, pen.rng)
    elif not pen.light.night:
        _cast_shadow(picture, subject, pen)
    cut = pen.layer.crop(extent)
    picture.paste(cut, extent[:2], cut)


def _cast_shadow(picture: Image.Image, subject: Subject, pen: Pen) -> None:
    view, light = pen.view, pen.light
    reach = view.scale * min(subject.width, 1.2) * 0.5
    x, thick = view.x - light.side * reach * 0.5, max(2.0, view.scale * 0.03)
    shade = Image.new("L", (int(2 * reach) + 2, int(2 * thick) + 2))
    fill = round(220 * light.contrast)
    ImageDraw.Draw(shade).ellipse((0, 0, 2 * reach, 2 * thick), fill=fill)
    picture.paste((24, 26, 30), (round(x - reach), round(view.base - thick)), shade)


def _paste_reflection(
    picture: Image.Image, layer: Image.Image, base: int, rng: np.random.Generator
) -> None:
    depth = min(base, layer.height - base)
    extent = layer.crop((0, base - depth, layer.width, base)).getbbox()
    if extent is None:
        return
    left, right = max(0, extent[0] - 16), min(layer.width, extent[2] + 16)
    upper = layer.crop((left, base - depth, right, base))
    pixels = np.asarray(upper.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    rows = np.arange(depth)
    swell = 1.0 + rows * rng.uniform(0.01, 0.04)
    waves = np.sin(rows / rng.uniform(2.0, 5.0) + rng.uniform(0, 6)) * swell
    columns = (np.arange(right - left)[None, :] + waves.astype(int)[:, None]) % (right - left)
    rippled = Image.fromarray(pixels[rows[:, None], columns])
    share = float(rng.uniform(0.25, 0.6))
    mask = rippled.getchannel("A").point([int(v * share) for v in range(256)])
    picture.paste(rippled.convert("RGB"), (left, base), mask)
