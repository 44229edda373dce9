"""One postcard: a landmark or an ordinary scene, its light, ground and weather."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from landmark_ml.data.postcards.camera import photograph
from landmark_ml.data.postcards.foreground import draw_fog, draw_foreground, draw_precipitation
from landmark_ml.data.postcards.landmarks import SUBJECTS, Subject
from landmark_ml.data.postcards.ordinary import ORDINARY
from landmark_ml.data.postcards.pen import Pen
from landmark_ml.data.postcards.scenes import (
    choose_light,
    draw_distance,
    draw_ground,
    draw_ground_lines,
    draw_sky,
)
from landmark_ml.data.postcards.staging import draw_subject, frame_subject

if TYPE_CHECKING:
    import numpy as np

LANDMARKS: tuple[str, ...] = tuple(SUBJECTS)
"""The twelve landmarks that postcards show, in the order of their class folders."""

SUPERSAMPLING = 2


def draw_postcard(
    landmark: str | None, rng: np.random.Generator, size: tuple[int, int] = (256, 192)
) -> Image.Image:
    """Draw one postcard of a landmark, or with None of a scene that shows none.

    Returns an RGB picture of `size` (width, height) pixels, at least 32 a side; the same
    generator state gives the same pixels. Raises ValueError for an unknown landmark or a smaller
    size.
    """
    if min(size) < 32:
        raise ValueError(f"size {size} is too small to show anything: give at least (32, 32)")
    subject = _subject(landmark, rng)
    ground = str(rng.choice(subject.grounds))
    light, sky = choose_light(rng)
    drawn = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    view = frame_subject(subject, drawn, rng)
    picture = Image.new("RGB", size)
    draw_sky(picture, light, sky, rng)
    draw_ground(picture, ground, view.horizon / SUPERSAMPLING, light, rng)
    picture = picture.resize(drawn, Image.Resampling.BILINEAR)
    draw_distance(picture, view.horizon, light, rng)
    draw_ground_lines(picture, ground, view.horizon, light, rng)
    pen = Pen(drawn, view, light, rng)
    draw_subject(picture, subject, pen, in_water=ground == "water")
    draw_fog(picture, light, rng)
    draw_foreground(picture, light, rng)
    picture = picture.reduce(SUPERSAMPLING)
    draw_precipitation(picture, light, rng)
    return photograph(picture, rng)


def _subject(landmark: str | None, rng: np.random.Generator) -> Subject:
    if landmark is None:
        return ORDINARY[int(rng.integers(len(ORDINARY)))]
    if landmark not in SUBJECTS:
        raise ValueError(f"no postcard of {landmark!r}: choose one of {', '.join(LANDMARKS)}")
    return SUBJECTS[landmark]
