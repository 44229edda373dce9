"""Postcards: the embedded sample dataset, landmark pictures drawn by code in seconds."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from pathlib import Path

import numpy as np

from landmark_ml.console import Bar, counted
from landmark_ml.data.postcards.drawing import LANDMARKS, draw_postcard
from landmark_ml.data.postcards.pen import pick

__all__ = ["LANDMARKS", "draw_postcard", "write_postcards"]

logger = logging.getLogger(__name__)

MARKER = ".postcards.json"
POSTCARD_PATH = re.compile(r"(train|test)/\d+\.\w+/\w+_\d{4,}\.jpg|not_landmarks/scene_\d{4,}\.jpg")
SIZES = ((256, 192), (256, 192), (192, 256), (224, 224), (288, 192), (240, 160))


def write_postcards(
    folder: Path,
    *,
    per_class: int = 60,
    not_landmarks: int = 120,
    test_per_class: int = 15,
    seed: int = 0,
) -> Path:
    """Draw a dataset of postcards into `folder` and return it.

    Writes `train/<NN.Name>/`, `test/<NN.Name>/` and `not_landmarks/` as JPEG files. Every picture
    has its own generator, derived from (seed, split, class, index), so another count leaves the
    others as they are. A complete folder of the same parameters is returned at once; an
    incomplete one, or one of other parameters, is drawn aside and swapped in by renaming. Raises
    ValueError for negative numbers, and for a folder to be replaced that holds other files.
    """
    plan = {
        "per_class": per_class,
        "not_landmarks": not_landmarks,
        "test_per_class": test_per_class,
        "seed": seed,
    }
    for name, value in plan.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: give a number of at least 0")
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

    def is_complete() -> bool:
        try:
            drawn = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
        return bool(drawn == plan and present == cards.keys())

    if is_complete():
        return folder
    logger.info("drawing %s into %s", counted(len(cards), "postcard"), folder)
    for found in folder.rglob("*"):
        name = found.relative_to(folder).as_posix()
        if found.is_file() and found.name[0] != "." and not POSTCARD_PATH.fullmatch(name):
            raise ValueError(
                f"{folder} is to be drawn again, but {name} in it is not a postcard and would be "
                "lost: move it away or choose another folder"
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as workspace:
        fresh = Path(workspace, "fresh")
        fresh.mkdir()
        for path, (shown, key) in Bar(cards.items(), "drawing postcards"):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            picture = draw_postcard(shown, rng, pick(rng, SIZES))
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            picture.save(fresh / path, "JPEG", quality=88)
        (fresh / MARKER).write_text(json.dumps(plan), encoding="utf-8")
        # Another process may have drawn the same folder meanwhile, and be reading it by now.
        if not is_complete():
            if folder.exists():
                folder.rename(Path(workspace, "replaced"))
            fresh.rename(folder)
    return folder
