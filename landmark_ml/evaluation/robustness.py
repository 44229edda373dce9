"""Top-1 of a model on photos that were blurred, darkened, cropped and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from landmark_ml.evaluation.corruptions import CORRUPTIONS, corrupt
from landmark_ml.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.data import Photo
    from landmark_ml.evaluation.predictions import ServedModel

_BATCH = 32


def measure_robustness(
    model: ServedModel, photos: Sequence[Photo], names: Sequence[str], most: int, seed: int
) -> pd.DataFrame:
    """Columns corruption, photos, top1, low, high: one row a corruption, `clean` first.

    photos: of landmarks, of which at most `most` are taken, spread over all labels and the same
    for every corruption; names: the answer that is right for each label.
    """
    chosen = spread_over_labels(photos, most, seed)
    rows = []
    progress = tqdm(
        total=len(CORRUPTIONS) * len(chosen), desc="corrupted photos", unit="photo", delay=1
    )
    with progress:
        for name in CORRUPTIONS:
            right = 0
            for start in range(0, len(chosen), _BATCH):
                some = chosen[start : start + _BATCH]
                right += _count_right(model, some, name, names, seed)
                progress.update(len(some))
            share = right / len(chosen)
            low, high = wilson_interval(share, len(chosen))
            rows.append((name, len(chosen), share, low, high))
    return pd.DataFrame(rows, columns=["corruption", "photos", "top1", "low", "high"])


def spread_over_labels(photos: Sequence[Photo], most: int, seed: int) -> list[Photo]:
    """At most `most` photos, as evenly over the labels as there are photos of them."""
    rng = np.random.default_rng(seed)
    by_label: dict[int, list[Photo]] = {}
    for index in rng.permutation(len(photos)).tolist():
        by_label.setdefault(photos[index].label, []).append(photos[index])
    turns = [(turn, photo) for found in by_label.values() for turn, photo in enumerate(found)]
    # A stable sort: first one photo of each label, then the second of each, and so on.
    return [photo for _, photo in sorted(turns, key=lambda item: item[0])[:most]]


def _count_right(
    model: ServedModel, photos: Sequence[Photo], corruption: str, names: Sequence[str], seed: int
) -> int:
    files = [corrupt(photo.path, corruption, seed) for photo in photos]
    answers = model.predict(pd.DataFrame({"image": files}), params={"top_k": 1})
    best = [candidates[0]["landmark"] for candidates in answers["candidates"]]
    return sum(answer == names[photo.label] for answer, photo in zip(best, photos, strict=True))
