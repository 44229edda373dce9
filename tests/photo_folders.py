"""Small photo folders for tests: random pictures that no two seeds share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image


def random_picture(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Smooth random colours with enough detail to tell any two seeds apart."""
    cells = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def write_photo(path: Path, seed: int) -> Path:
    """Save the random picture of a seed, as JPEG unless the name says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random_picture(seed).save(path)
    return path


def write_snapshot(path: Path, seed: int, taken: str, camera: str = "EOS 5D") -> Path:
    """Save the random picture of a seed with the EXIF of a camera; taken: `2023:07:14 10:11:12`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", camera
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    random_picture(seed).save(path, exif=exif)
    return path


def write_class(folder: Path, seeds: range) -> None:
    """Fill a class folder with one photo a seed."""
    for seed in seeds:
        write_photo(folder / f"{seed}.jpg", seed)


def write_two_classes(folder: Path) -> Path:
    """Two class folders of ten photos each, one of them numbered after the other."""
    write_class(folder / "16.Eiffel_Tower", range(10))
    write_class(folder / "3.Stonehenge", range(20, 30))
    return folder
