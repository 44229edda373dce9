"""Every pixel mode a photo can have, to 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STRIP_PIXELS = 1 << 21
_WHITE = (255, 255, 255)

Numbers = npt.NDArray[np.generic]


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture of any mode to RGB: transparency on white, deep greys to 8 bits.

    Greys of 16 bits are divided by 257. Integers of 32 bits are taken for 0..255 or 0..65535 and
    floats for 0..1 or 0..255 where they fit, and are stretched from their minimum to their maximum
    where they do not; NaN becomes black.
    """
    if image.mode.startswith(("I", "F")):
        image = _grey8(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "RGBA"):
        return _on_white(image)
    if image.mode == "PA" or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", image.size, _WHITE)
    # Pasting with the picture as its own mask needs no second full-size copy.
    canvas.paste(image, mask=image)
    return canvas


def _grey8(image: Image.Image) -> Image.Image:
    scale = _scale16 if image.mode.startswith("I;16") else _scale_for(image)
    grey = Image.new("L", image.size)
    for top, values in _strips(image):
        grey.paste(Image.fromarray(scale(values)), (0, top))
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[int, Numbers]]:
    """(top row, values) of bands of rows, so that a deep picture is never held twice."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = (0, top, image.width, min(top + rows, image.height))
        yield top, np.asarray(image.crop(band))


def _scale16(values: Numbers) -> npt.NDArray[np.uint8]:
    wide = values.astype(np.uint32)
    return ((wide + 128) // 257).astype(np.uint8)


def _scale_for(image: Image.Image) -> Callable[[Numbers], npt.NDArray[np.uint8]]:
    low, high = _finite_range(image)
    floating = image.mode.startswith("F")
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if floating and high <= 1 else 255.0
    elif low >= 0 and high <= 65535 and not floating:
        low, high = 0.0, 65535.0
    span = (high - low) or 1.0

    def scale(values: Numbers) -> npt.NDArray[np.uint8]:
        # Stretched in parts: the difference of two extreme floats would overflow.
        part = values.astype(np.float64) / span - low / span
        part = np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0)
        return np.rint(np.clip(part, 0.0, 1.0) * 255).astype(np.uint8)

    return scale


def _finite_range(image: Image.Image) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, values in _strips(image):
        numbers = values.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 0.0)
