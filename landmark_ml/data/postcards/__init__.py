"""Postcards: the embedded sample dataset, landmark pictures drawn by code in seconds."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from landmark_ml.console import Bar, counted
from landmark_ml.data.postcards.drawing import LANDMARKS, draw_postcard, pick
from landmark_ml.files import make_cache

logger = logging.getLogger(__name__)

SIZES = ((256, 192), (256, 192), (192, 256), (224, 224), (288, 192), (240, 160))


def write_postcards(
    folder: Path,
    *,
    per_class: int = 60,
    not_landmarks: int = 120,
    test_per_class: int = 15,
    seed: int = 0,
) -> Path:
    """Draw a dataset of postcards and return its folder; one that exists is returned as it is.

    Holds `train/<NN.Name>/`, `test/<NN.Name>/` and `not_landmarks/` as JPEG files. Every picture
    has its own generator, derived from (seed, split, class, index), so another count leaves the
    others as they are. The folder appears whole or not at all, also where two processes draw it.
    """
    if folder.is_dir():
        return folder
    # What each picture shows, and the key of its generator.
    cards: dict[str, tuple[str | None, tuple[int, int, int]]] = {}
    for number, (split, count) in enumerate((("train", per_class), ("test", test_per_class))):
        for label, landmark in enumerate(LANDMARKS):
            card = landmark.replace(" ", "_")
            for i in range(count):
                path = f"{split}/{label:02d}.{card}/{card.lower()}_{i:04d}.jpg"
                cards[path] = landmark, (number, label, i)
    for i in range(not_landmarks):
        cards[f"not_landmarks/scene_{i:04d}.jpg"] = None, (2, 0, i)
    logger.info("drawing %s into %s", counted(len(cards), "postcard"), folder)
    make_cache(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as workspace:
        fresh = Path(workspace, "fresh")
        fresh.mkdir()
        for path, (shown, key) in Bar(cards.items(), "drawing postcards"):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            picture = draw_postcard(shown, rng, pick(rng, SIZES))
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            picture.save(fresh / path, "JPEG", quality=88)
        try:
            fresh.rename(folder)
        except OSError:
            # Another process may have drawn the same folder meanwhile, and be reading it by now.
            if not folder.is_dir():
                raise
    return folder
