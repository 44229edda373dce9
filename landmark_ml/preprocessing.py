"""Photo to the square of pixels a network was trained on; the constants travel with the model.

Needs only numpy and PIL, so that the served artifact computes the very pixels of training.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

from landmark_ml.photos import DEFAULT_LIMITS, PhotoLimits, decode_photo

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side to `resize`, cut the centred square of `resolution` pixels.

    mean and std are per RGB channel on the scale 0 to 1 and are applied inside the network's graph.
    """

    resolution: int
    resize: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 1 <= self.resolution <= self.resize:
            raise ValueError(
                f"resolution {self.resolution} must be from 1 to resize {self.resize} pixels"
            )
        if self.interpolation not in _RESAMPLING:
            raise ValueError(
                f"interpolation {self.interpolation!r}; choose one of {', '.join(_RESAMPLING)}"
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std {self.std} must be above 0 in every channel")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Constants read back from an artifact's metadata.

        Raises ValueError when one is missing.
        """
        missing = [item.name for item in fields(cls) if item.name not in values]
        if missing:
            raise ValueError(f"preprocessing lacks {', '.join(missing)}; export the model again")
        return cls(
            resolution=int(values["resolution"]),
            resize=int(values["resize"]),
            interpolation=str(values["interpolation"]),
            mean=_triple(values["mean"]),
            std=_triple(values["std"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Constants as JSON-ready values."""
        return asdict(self)

    def resized(self, photo: Image.Image) -> Image.Image:
        """Photo with its short side at `resize` pixels, aspect ratio kept."""
        width, height = photo.size
        scale = self.resize / min(width, height)
        # A panorama 100 times as wide as high would blow up in memory: only what the crop sees.
        longest = 4 * self.resize
        if max(width, height) * scale > longest:
            photo = _cut_centre(photo, math.ceil(longest / scale))
            width, height = photo.size
        size = (max(self.resize, round(width * scale)), max(self.resize, round(height * scale)))
        if size == photo.size:
            return photo
        return photo.resize(size, _RESAMPLING[self.interpolation], reducing_gap=3.0)

    def pixels(self, photo: Image.Image) -> NDArray[np.uint8]:
        """Centred square of an RGB photo: uint8 [resolution, resolution, 3]."""
        photo = self.resized(photo)
        left = (photo.width - self.resolution) // 2
        top = (photo.height - self.resolution) // 2
        square = photo.crop((left, top, left + self.resolution, top + self.resolution))
        return np.asarray(square, dtype=np.uint8)

    def read(
        self,
        source: bytes | Path,
        *,
        limits: PhotoLimits = DEFAULT_LIMITS,
        name: str | None = None,
    ) -> NDArray[np.uint8]:
        """Photo bytes or file to uint8 [resolution, resolution, 3].

        Raises PhotoError for a photo that is refused.
        """
        return self.pixels(decode_photo(source, min_side=self.resize, limits=limits, name=name))


def _cut_centre(photo: Image.Image, length: int) -> Image.Image:
    width, height = min(photo.width, length), min(photo.height, length)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
