"""Photos decoded once into tensors: squashed squares to train on, served pixels to validate on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from landmark_ml.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from landmark_ml.datasets import Photo
    from landmark_ml.preprocessing import Preprocessing


def load_squashed(photos: Sequence[Photo], side: int) -> tuple[Tensor, Tensor]:
    """Whole photos squashed to squares, uint8 [N, 3, side, side], and their aspect ratios [N]."""

    def read(photo: Photo) -> NDArray[np.uint8]:
        picture = decode_photo(photo.path, min_side=side)
        squashed = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(squashed, dtype=np.uint8)

    aspects = torch.tensor([photo.width / photo.height for photo in photos])
    return _load(photos, side, read), aspects


def load_served(photos: Sequence[Photo], preprocessing: Preprocessing) -> Tensor:
    """Photos as the served model sees them: uint8 [N, 3, resolution, resolution]."""
    return _load(photos, preprocessing.resolution, lambda photo: preprocessing.read(photo.path))


def _load(photos: Sequence[Photo], side: int, read: Callable[[Photo], NDArray[np.uint8]]) -> Tensor:
    pixels = np.empty((len(photos), 3, side, side), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(read, photos)
        progress = tqdm(decoded, total=len(photos), desc="decode", unit="photo", delay=1)
        for index, picture in enumerate(progress):
            pixels[index] = picture.transpose(2, 0, 1)
    return torch.from_numpy(pixels)
