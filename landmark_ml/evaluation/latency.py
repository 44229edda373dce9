"""What an answer costs: latency of single photos, photos a second in batches, memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from landmark_ml.evaluation.model_process import ServedProcess

TIMED_PHOTOS = 100
_BATCH = 32


def measure_costs(model: ServedProcess, photos: Sequence[Path]) -> dict[str, float]:
    """`p50_ms` and `p99_ms` a photo, `photos_per_second`, `peak_mb` and `loaded_mb`.

    Latency is from a photo's bytes to its answer through the pipe, of up to 100 photos spread over
    all, after one that warms up; memory is the process's, in 10^6 bytes.
    """
    places = np.linspace(0, len(photos) - 1, min(len(photos), TIMED_PHOTOS)).round()
    files = [photos[int(place)].read_bytes() for place in places]
    model.predict(pd.DataFrame({"image": files[:1]}))
    single = [_seconds(model, [file]) for file in tqdm(files, desc="latency", delay=1)]
    batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    batched = sum(_seconds(model, batch) for batch in batches)
    return {
        "p50_ms": 1000 * float(np.median(single)),
        "p99_ms": 1000 * float(np.quantile(single, 0.99)),
        "photos_per_second": len(files) / batched,
        "peak_mb": model.peak_mb,
        "loaded_mb": model.loaded_mb,
    }


def _seconds(model: ServedProcess, photos: Sequence[bytes]) -> float:
    frame = pd.DataFrame({"image": photos})
    started = time.perf_counter()
    model.predict(frame)
    return time.perf_counter() - started
