"""The camera of a postcard: roll, blur, exposure, colour, vignette, noise and compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

SEPIA = np.array((1.08, 0.92, 0.7))


def photograph(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take the drawn scene as a camera would; size and mode are kept."""
    picture = _develop(_blur(_roll(picture, rng), rng), rng)
    picture = _expose(picture, rng)
    return _recompress(picture, rng) if rng.uniform() < 0.2 else picture


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
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )


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
    levels = np.clip(
        ((np.arange(256) - 128.0) * contrast + 128.0)[None, :] * gains[:, None], 0, 255
    )
    return picture.point(levels.ravel().astype(int).tolist())


def _expose(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
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
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _recompress(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(18, 60)))
    return Image.open(buffer).convert("RGB")
