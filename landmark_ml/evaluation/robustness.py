"""Top-1 of a model on photos that are blurred, darkened, cropped and so on, seeded."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from landmark_ml.console import Bar
from landmark_ml.data import Photo
from landmark_ml.evaluation.significance import wilson_interval
from landmark_ml.inference.photos import decode_photo

if TYPE_CHECKING:
    from landmark_ml.evaluation.judge import ServedModel


Corruption = Callable[[Image.Image, np.random.Generator], Image.Image]

SHORT_SIDE = 320
"""Pixels of the short side before a corruption, so that its strength suits photos of any size."""
_BATCH = 32


def _noisy(photo: Image.Image, rng: np.random.Generator, grey_levels: float) -> Image.Image:
    pixels = np.asarray(photo, dtype=np.float32)
    noisy = pixels + rng.normal(0, grey_levels, pixels.shape).astype(np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _jpeg(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=10)
    return Image.open(file).convert("RGB")


def _low_light(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    # In the dark a sensor gets little signal, and its noise does not shrink with the signal.
    return _noisy(ImageEnhance.Brightness(photo).enhance(0.2), rng, 5)


def _crop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = round(photo.width * 0.6), round(photo.height * 0.6)
    left = int(rng.integers(0, photo.width - width + 1))
    top = int(rng.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))


def _rotation(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    degrees = float(rng.choice([-15.0, 15.0]))
    return photo.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(0, 0, 0))


CORRUPTIONS: dict[str, Corruption] = {
    "clean": lambda photo, _: photo,
    "blur": lambda photo, _: photo.filter(ImageFilter.GaussianBlur(4)),
    "noise": lambda photo, rng: _noisy(photo, rng, 30),
    "jpeg": _jpeg,
    "low_light": _low_light,
    "crop": _crop,
    "rotation": _rotation,
    "downscale": lambda photo, _: _with_short_side(photo, 64),
}
"""By name; `clean` is the photo at the same size, to compare the others with.

Gaussian blur of 4 px, noise of 30 grey levels, JPEG quality 10, a fifth of the light with noise of
5 levels, a random 60% by 60% crop, 15 degrees either way, 64 px on the short side.
"""


def corrupt(path: Path, name: str, seed: int) -> bytes:
    """PNG of a corrupted photo; the same bytes for the same photo, name and seed.

    Raises PhotoError for a photo that is refused.
    """
    photo = _with_short_side(decode_photo(path, min_side=SHORT_SIDE), SHORT_SIDE)
    # Seeded by content, so that photos are not all cropped and turned alike.
    rng = np.random.default_rng([seed, zlib.crc32(photo.tobytes()), *name.encode()])
    png = io.BytesIO()
    # Better compression would take most of the time, and nobody keeps the file.
    CORRUPTIONS[name](photo, rng).save(png, "PNG", compress_level=1)
    return png.getvalue()


def measure_robustness(
    model: ServedModel, photos: Sequence[Photo], names: Sequence[str], most: int, seed: int
) -> pd.DataFrame:
    """Columns corruption, photos, top1, low, high: one row a corruption, `clean` first.

    photos: of landmarks, of which at most `most` are taken, spread over all labels and the same
    for every corruption; names: the right answer for each label.
    """
    chosen = spread_over_labels(photos, most, seed)
    rows = []
    total = len(CORRUPTIONS) * len(chosen)
    with Bar(total=total, desc="corrupted photos", unit=" photos") as progress:
        for name in CORRUPTIONS:
            right = 0
            for start in range(0, len(chosen), _BATCH):
                some = chosen[start : start + _BATCH]
                files = [corrupt(photo.path, name, seed) for photo in some]
                answers = model.predict(pd.DataFrame({"image": files}), params={"top_k": 1})
                right += sum(
                    candidates[0]["landmark"] == names[photo.label]
                    for candidates, photo in zip(answers["candidates"], some, strict=True)
                )
                progress.update(len(some))
            interval = wilson_interval(right, len(chosen))
            rows.append((name, len(chosen), right / len(chosen), *interval))
    return pd.DataFrame(rows, columns=["corruption", "photos", "top1", "low", "high"])


def spread_over_labels(photos: Sequence[Photo], most: int, seed: int) -> list[Photo]:
    """At most `most` photos, as evenly over the labels as there are photos of them."""
    rng = np.random.default_rng(seed)
    by_label: dict[int, list[Photo]] = {}
    for index in rng.permutation(len(photos)).tolist():
        by_label.setdefault(photos[index].label, []).append(photos[index])
    turns = [(turn, photo) for found in by_label.values() for turn, photo in enumerate(found)]
    # The sort is stable: first one photo of each label, then the second of each, and so on.
    return [photo for _, photo in sorted(turns, key=lambda item: item[0])[:most]]


def _with_short_side(photo: Image.Image, side: int) -> Image.Image:
    scale = side / min(photo.size)
    return photo.resize((round(photo.width * scale), round(photo.height * scale)))
