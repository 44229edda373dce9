"""A folder of postcards: the embedded sample dataset, whole or not there."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from landmark_ml.data.postcards.drawing import LANDMARKS, draw_postcard

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

MARKER = ".postcards.json"
POSTCARD_PATH = re.compile(r"(train|test)/\d+\.\w+/\w+_\d{4,}\.jpg|not_landmarks/scene_\d{4,}\.jpg")
SIZES: tuple[tuple[int, int], ...] = (
    (256, 192),
    (256, 192),
    (192, 256),
    (224, 224),
    (288, 192),
    (240, 160),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    per_class: int
    not_landmarks: int
    test_per_class: int
    seed: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}: give a number of at least 0")


@dataclass(frozen=True, slots=True)
class _Card:
    path: str
    landmark: str | None
    key: tuple[int, int, int]


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
    has its own generator, derived from (seed, side, class, index), so another count leaves the
    others as they are. A complete folder of the same parameters is returned at once; an
    incomplete one, or one of other parameters, is drawn aside and swapped in by renaming. Raises
    ValueError for negative numbers, and for a folder to be replaced that holds other files.
    """
    plan = _Plan(per_class, not_landmarks, test_per_class, seed)
    folder = Path(folder)
    cards = list(_cards(plan))
    if _is_complete(folder, plan, cards):
        return folder
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as workspace:
        fresh = Path(workspace, "fresh")
        _draw_all(fresh, cards, seed)
        (fresh / MARKER).write_text(json.dumps(asdict(plan)), encoding="utf-8")
        # Another process may have drawn the same folder meanwhile, and be reading it by now.
        if not _is_complete(folder, plan, cards):
            if folder.exists():
                folder.rename(Path(workspace, "replaced"))
            fresh.rename(folder)
    logger.info("%d postcards are in %s", len(cards), folder)
    return folder


def _cards(plan: _Plan) -> Iterator[_Card]:
    for side, (split, count) in enumerate(
        (("train", plan.per_class), ("test", plan.test_per_class))
    ):
        for label, landmark in enumerate(LANDMARKS):
            name = landmark.replace(" ", "_")
            for i in range(count):
                path = f"{split}/{label:02d}.{name}/{name.lower()}_{i:04d}.jpg"
                yield _Card(path, landmark, (side, label, i))
    for i in range(plan.not_landmarks):
        yield _Card(f"not_landmarks/scene_{i:04d}.jpg", None, (2, 0, i))


def _draw_all(folder: Path, cards: list[_Card], seed: int) -> None:
    for parent in {Path(card.path).parent for card in cards}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for card in tqdm(cards, desc="drawing postcards", unit="picture", delay=1):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=card.key))
        size = SIZES[int(rng.integers(len(SIZES)))]
        draw_postcard(card.landmark, rng, size).save(folder / card.path, "JPEG", quality=88)


def _is_complete(folder: Path, plan: _Plan, cards: list[_Card]) -> bool:
    marker = folder / MARKER
    if not marker.is_file():
        return False
    try:
        if json.loads(marker.read_text(encoding="utf-8")) != asdict(plan):
            return False
    except ValueError:
        return False
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg")}
    return present == {card.path for card in cards}


def _refuse_foreign(folder: Path) -> None:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith(".") and not POSTCARD_PATH.fullmatch(name):
            raise ValueError(
                f"{folder} is to be drawn again, but {name} in it is not a postcard and would be "
                "lost: move it away or choose another folder"
            )
