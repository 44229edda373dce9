"""The commands that read an experiment and its registry, with the judging of promote left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import mlflow
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from PIL import Image

from benchmarks.made_up_answers import made_up_report
from benchmarks.synthetic_store import EXPERIMENT, MODEL
from landmark_ml.config import CompareConfig, HistoryConfig, PromoteConfig, RollbackConfig
from landmark_ml.data import Dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.registry import promote as promoting
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.history import roll_back, tell_history
from landmark_ml.registry.promote import run_promotion
from landmark_ml.reports.comparison import run_comparison

PEER = "mlflow.search_runs"
_CHAMPION_TOP1, _CHALLENGER_TOP1 = 0.85, 0.95


def commands(photos: Path) -> dict[str, Callable[[int], object]]:
    """What a person would call, by name, and the peer first; photos: any small dataset."""
    return {
        PEER: lambda _: mlflow.search_runs(experiment_names=[EXPERIMENT]),
        "compare": lambda _: run_comparison(CompareConfig(experiment=EXPERIMENT)),
        "promote, newest version": lambda _: _promote("newest:1", photos),
        "rollback": lambda _: roll_back(RollbackConfig(model=MODEL, reason="a benchmark")),
        "history": lambda _: tell_history(HistoryConfig(model=MODEL)),
    }


def write_photos(folder: Path) -> Path:
    """A dataset of two classes and a few photos, which promote opens and splits."""
    rng = np.random.default_rng(0)
    for name in ("Atomium", "Petra"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def _promote(candidates: str, photos: Path) -> None:
    """Promote without judging; raises RuntimeError when nobody was promoted."""
    config = PromoteConfig(
        model=MODEL, data=str(photos), candidates=candidates, check_requirements=False
    )
    with patch.object(promoting, "judge_version", judged_better):
        result = run_promotion(config)
    if result.entry is None:
        raise RuntimeError(f"nobody was promoted: {result.receipt.verdicts[0].stopped_by}")


def judged_better(
    version: ModelVersion, _dataset: Dataset, _gazetteer: Gazetteer, *_: object
) -> Judged:
    """A sound version with made-up answers, clearly better unless it is the champion."""
    top1 = _CHAMPION_TOP1 if "champion" in version.aliases else _CHALLENGER_TOP1
    return Judged(
        version=int(version.version),
        run_id=version.run_id or "",
        report=made_up_report(top1, seed=0),
        megabytes=14.0,
        learned=0,
    )
