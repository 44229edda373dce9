"""Which photos a model is judged on: none that it was trained on or chosen by."""

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
class HeldOutPhotos:
    """Photos to judge a model on, those of no landmark included.

    split: whose split was used, that of the `manifest` of the model's own run or of the `data`.
    left_out: how many were left out because the model was trained on them or chosen by them.
    checked: False when it is not known which photos those are.
    """

    dataset: Dataset
    photos: tuple[Photo, ...]
    split: str
    left_out: int
    checked: bool


def choose_photos(
    config: DataConfig, manifest: Path | None, *, every: bool = False
) -> HeldOutPhotos:
    """The test photos of a dataset, or with `every` all of them, that a model did not learn from.

    manifest: split manifest of the model's run, None when it has none. When all its photos are
    found under the dataset's root, the split is the one it records; else the dataset is opened and
    split as for a training. Raises ValueError when no photo is left.
    """
    recorded = None
    if manifest and not every:
        _, root = find_root(config)
        try:
            recorded = read_manifest(manifest, root, verify=True, threads=config.threads)
        except ValueError as error:
            logger.info("the split that the model's run recorded does not fit here: %s", error)
    dataset = recorded or open_dataset(config)
    photos = (*dataset.train, *dataset.val, *dataset.test) if every else dataset.test
    learned = learned_hashes(manifest)
    kept = tuple(photo for photo in photos if photo.sha256 not in (learned or ()))
    left_out = len(photos) - len(kept)
    if not any(photo.label >= 0 for photo in kept):
        raise ValueError(
            f"{dataset.name} has no photo of a landmark left to judge the model on: it was trained"
            f" on or chosen by {left_out} of {len(photos)}; give photos that it has not seen"
        )
    if left_out:
        logger.warning(
            "%d of %d photos are left out: the model was trained on them or chosen by them;"
            " near-duplicates of such photos are not searched for",
            left_out,
            len(photos),
        )
    split = "manifest" if recorded else "data"
    return HeldOutPhotos(dataset, kept, split, left_out, checked=learned is not None)


def learned_hashes(manifest: Path | None) -> frozenset[str] | None:
    """Content hashes of the photos that a run trained on or was chosen by, from its manifest.

    None, with a warning, when the run has no manifest or a damaged one.
    """
    if manifest is None:
        logger.warning(
            "the run of the model holds no split manifest: whether it was trained on these photos"
            " cannot be checked"
        )
        return None
    try:
        photos = json.loads(manifest.read_text(encoding="utf-8"))["photos"]
        return frozenset(row["sha256"] for row in photos if row["split"] in ("train", "val"))
    except (ValueError, KeyError) as error:
        logger.warning("the split manifest of the model's run is damaged: %r", error)
        return None
