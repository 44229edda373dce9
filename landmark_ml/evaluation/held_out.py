"""Which photos judge a model: never those it was trained on."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.data import Dataset, read_manifest
from landmark_ml.data.opening import find_root, open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.config import DataConfig
    from landmark_ml.data import Photo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluatedPhotos:
    """Photos to judge by, those of no landmark included.

    split: where the choice is from, the `manifest` of the model's own run or the `data`. left_out:
    photos that the model was trained on, or that chose it, and that judge nothing. checked: False
    when it is not known which photos the model was trained on.
    """

    dataset: Dataset
    photos: tuple[Photo, ...]
    split: str
    left_out: int
    checked: bool


def choose_photos(
    config: DataConfig, manifest: Path | None, *, every: bool = False
) -> EvaluatedPhotos:
    """The test photos of a dataset, or with `every` all of them, that a model did not learn from.

    manifest: split manifest of the model's run, None when it has none. When all its photos are
    found under the dataset's root the split is the one it records; else the dataset is opened and
    split as for a training. Raises ValueError when no photo is left.
    """
    recorded = _recorded(config, manifest) if manifest and not every else None
    dataset = recorded or open_dataset(config)
    photos = (*dataset.train, *dataset.val, *dataset.test) if every else dataset.test
    used = learned_hashes(manifest) if manifest else set()
    kept = tuple(photo for photo in photos if photo.sha256 not in used)
    left_out = len(photos) - len(kept)
    if not any(photo.label >= 0 for photo in kept):
        raise ValueError(
            f"{dataset.name} holds {len(photos)} photos to judge by and {left_out} of them trained"
            " the model; give photos of landmarks that it has not seen"
        )
    if left_out:
        logger.warning(
            "%d of %d photos trained or chose the model and are left out; near-duplicates of such"
            " photos are not looked for",
            left_out,
            len(photos),
        )
    if not manifest:
        logger.warning(
            "the run of the model holds no split manifest: whether it was trained on these photos"
            " cannot be checked"
        )
    split = "manifest" if recorded else "data"
    return EvaluatedPhotos(dataset, kept, split, left_out, checked=manifest is not None)


def _recorded(config: DataConfig, manifest: Path) -> Dataset | None:
    """The dataset as the manifest splits it, None when it is about other photos."""
    _, root = find_root(config)
    try:
        return read_manifest(manifest, root, verify=True, threads=config.threads)
    except ValueError as error:
        logger.info("the split that the model's run recorded does not fit here: %s", error)
        return None


def learned_hashes(manifest: Path) -> set[str]:
    """Content hashes of the photos that a run trained on or was chosen by."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    return {row["sha256"] for row in content["photos"] if row["split"] in ("train", "val")}
