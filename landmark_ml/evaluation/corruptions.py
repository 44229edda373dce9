"""What happens to photos in life: a fixed, seeded set of corruptions, photo file to photo file."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from landmark_ml.inference.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Corruption = Callable[[Image.Image, np.random.Generator], Image.Image]

SHORT_SIDE = 320
"""Pixels of the short side before a corruption, so that its strength suits photos of any size."""


def _blur(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(4))


def _noise(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(photo, dtype=np.float32)
    noisy = pixels + rng.normal(0, 30, pixels.shape).astype(np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _jpeg(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=10)
    return Image.open(file).convert("RGB")


def _low_light(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    # A sensor in the dark: little signal, and noise that does not fade with it.
    dark = np.asarray(ImageEnhance.Brightness(photo).enhance(0.2), dtype=np.float32)
    noisy = dark + rng.normal(0, 5, dark.shape).astype(np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _crop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = round(photo.width * 0.6), round(photo.height * 0.6)
    left = int(rng.integers(0, photo.width - width + 1))
    top = int(rng.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))


def _rotation(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    degrees = float(rng.choice([-15.0, 15.0]))
    return photo.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(0, 0, 0))


def _downscale(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    scale = 64 / min(photo.size)
    return photo.resize((round(photo.width * scale), round(photo.height * scale)))


def _clean(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    return photo


CORRUPTIONS: dict[str, Corruption] = {
    "clean": _clean,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "low_light": _low_light,
    "crop": _crop,
    "rotation": _rotation,
    "downscale": _downscale,
}
"""By name; `clean` is the photo at the same size, to compare the others with.

Gaussian blur of 4 px, noise of 30 grey levels, JPEG quality 10, a fifth of the light with noise of
5 levels, a random 60% by 60% crop, 15 degrees either way, 64 px on the short side.
"""


def corrupt(path: Path, name: str, seed: int) -> bytes:
    """PNG of a corrupted photo; the same bytes for the same photo, name and seed.

    Raises PhotoError for a photo that is refused.
    """
    photo = decode_photo(path, min_side=SHORT_SIDE)
    scale = SHORT_SIDE / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
    # By content: one direction and one corner for all photos would be a draw of one.
    rng = np.random.default_rng([seed, zlib.crc32(photo.tobytes()), *name.encode()])
    png = io.BytesIO()
    # Compressing well would take most of the time and nobody keeps the file.
    CORRUPTIONS[name](photo, rng).save(png, "PNG", compress_level=1)
    return png.getvalue()
