"""Photos decoded once: squashed squares to train on, served pixels to validate on."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import PIL
import torch
from PIL import Image
from tqdm.auto import tqdm

from landmark_ml.inference.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from landmark_ml.data import Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.training.pixel_cache import PixelStore, StoredPixels

    Read = Callable[[Photo], NDArray[np.uint8]]

PIXELS_VERSION = 3
"""Raise it when the way from photo bytes to pixels changes: what is kept of it is made anew."""
# Decoded ahead of what is written: bounds the memory that a slow disk can fill.
_AHEAD = 256


def load_squashed(
    photos: Sequence[Photo], side: int, store: PixelStore | None = None
) -> tuple[Tensor | StoredPixels, Tensor]:
    """Whole photos squashed to squares, uint8 [N, 3, side, side], and their aspect ratios [N].

    store: keeps them on disk and reads them from there; without one they are tensors in memory.
    """

    def read(photo: Photo) -> NDArray[np.uint8]:
        picture = decode_photo(photo.path, min_side=side)
        squashed = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(squashed, dtype=np.uint8)

    aspects = torch.tensor([photo.width / photo.height for photo in photos])
    return _load(photos, side, read, f"squashed-{side}", store), aspects


def load_served(
    photos: Sequence[Photo], preprocessing: Preprocessing, store: PixelStore | None = None
) -> Tensor | StoredPixels:
    """Photos as the served model sees them: uint8 [N, 3, resolution, resolution]."""
    side = preprocessing.resolution
    constants = json.dumps(preprocessing.to_dict(), sort_keys=True)
    name = f"served-{side}-{hashlib.sha256(constants.encode()).hexdigest()[:8]}"
    return _load(photos, side, lambda photo: preprocessing.read(photo.path), name, store)


def _load(
    photos: Sequence[Photo], side: int, read: Read, name: str, store: PixelStore | None
) -> Tensor | StoredPixels:
    if store is not None:
        key = f"{name}-v{PIXELS_VERSION}-pillow{PIL.__version__}"
        return store.load(photos, side, key, lambda missing: _decode(missing, read))
    pixels = np.empty((len(photos), 3, side, side), dtype=np.uint8)
    for index, picture in enumerate(_decode(photos, read)):
        pixels[index] = picture
    return torch.from_numpy(pixels)


def _decode(photos: Sequence[Photo], read: Read) -> Iterator[NDArray[np.uint8]]:
    """Pixels [3, side, side] of each photo in order, decoded on all cores."""
    progress = tqdm(total=len(photos), desc="decode", unit="photo", delay=1)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, progress:
        for start in range(0, len(photos), _AHEAD):
            for picture in pool.map(read, photos[start : start + _AHEAD]):
                yield picture.transpose(2, 0, 1)
                progress.update()
