"""Turn a photo into the square of pixels that a network was trained on.

Training and serving share this code, and its constants are stored in the artifact. Needs only numpy
and PIL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmark_ml.inference.photos import decode_photo

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a square of `resolution` pixels.

    framing: `squash` resizes the whole photo to the square, so that nothing at its edge is lost;
    `crop` resizes the short side to `resize` pixels and cuts the centre. mean and std, per RGB
    channel on a scale of 0 to 1, are applied inside the network.
    """

    resolution: int
    resize: int
    framing: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read the constants of an artifact's metadata."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def pixels(self, photo: Image.Image) -> NDArray[np.uint8]:
        """Resize an RGB photo to uint8 [resolution, resolution, 3]."""
        side, resampling = self.resolution, _RESAMPLING[self.interpolation]
        if self.framing == "crop":
            # Cutting first saves resizing the pixels that are thrown away.
            kept = min(photo.size) * side / self.resize
            left, top = (photo.width - kept) / 2, (photo.height - kept) / 2
            box = (left, top, left + kept, top + kept)
            square = photo.resize((side, side), resampling, box=box, reducing_gap=3.0)
        else:
            square = photo.resize((side, side), resampling, reducing_gap=3.0)
        return np.asarray(square, dtype=np.uint8)

    def read(self, source: bytes | Path) -> NDArray[np.uint8]:
        """Decode and resize photo bytes or a file to uint8 [resolution, resolution, 3].

        Raises PhotoError for a photo that is refused.
        """
        return self.pixels(decode_photo(source, min_side=self.resize))
