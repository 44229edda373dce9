"""`python -m benchmarks.rejection --data <folder>`: what a model says of what it never saw.

Trains the recipe without some of the landmarks, several times, each time without others, and asks
the served model about its test photos, about everyday photos and about all photos of the landmarks
that it never saw. Everyday photos help to train the background, so those of the test side alone
are asked about; a landmark left out appears nowhere in the training. Runs are logged to a store of
their own that is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING
from unittest.mock import patch

import mlflow
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from benchmarks.left_out import class_folders, leave_out, photos_of
from benchmarks.tables import machine, table, write_json
from experiments import recipes
from landmark_ml import metrics
from landmark_ml.datasets import find_root
from landmark_ml.registry import load_served
from landmark_ml.training import run_training

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from landmark_ml.config import TrainConfig
    from landmark_ml.evaluation import ServedModel

PACKAGES = ("openvino", "scikit-learn", "timm", "torch")
RECIPES = {"transfer": recipes.transfer, "ensemble": recipes.ensemble}
_BATCH = 64
_EXPERIMENT = "rejection"


@dataclass(frozen=True)
class Rejection:
    """One draw. Shares of 1; tagged at the threshold that the model itself serves with."""

    left_out: tuple[str, ...]
    top1: float
    known_tagged: float
    everyday_auroc: float
    everyday_tagged: float
    unseen_auroc: float
    unseen_at_95_recall: float
    unseen_tagged: float
    unseen_photos: int


def judge(answers: pd.DataFrame, unseen: pd.DataFrame, left_out: Sequence[str]) -> Rejection:
    """Measures of one draw.

    answers: of the test photos, as a run logs them; unseen: `landmark_score` and `is_landmark` of
    the photos of landmarks left out, those that could not be read dropped.
    """
    known = answers[answers["label"] != ""]
    everyday = answers[answers["label"] == ""]
    scores = known["landmark_score"].to_numpy()
    of_everyday = metrics.rejection(scores, everyday["landmark_score"].to_numpy())
    of_unseen = metrics.rejection(scores, unseen["landmark_score"].to_numpy(dtype=float))
    return Rejection(
        left_out=tuple(left_out),
        top1=float(known["correct"].mean()),
        known_tagged=float(known["accepted"].mean()),
        everyday_auroc=of_everyday["auroc"],
        everyday_tagged=float(everyday["accepted"].mean()),
        unseen_auroc=of_unseen["auroc"],
        unseen_at_95_recall=of_unseen["fpr_at_95_recall"],
        unseen_tagged=float(unseen["is_landmark"].mean()),
        unseen_photos=len(unseen),
    )


def ask(model: ServedModel, photos: Sequence[Path]) -> pd.DataFrame:
    """Answers of a served model on photos that it can read."""
    parts: list[pd.DataFrame] = []
    for start in range(0, len(photos), _BATCH):
        chunk = photos[start : start + _BATCH]
        parts.append(model.predict(pd.DataFrame({"image": [path.read_bytes() for path in chunk]})))
    answers: pd.DataFrame = pd.concat(parts)
    return answers.loc[answers["error"].isna()]


def run_draw(root: Path, config: TrainConfig, left_out: Sequence[str]) -> Rejection:
    """Train without some landmarks and ask about all photos."""
    with tempfile.TemporaryDirectory(prefix="left-out-") as folder:
        data = leave_out(root, left_out, Path(folder))
        result = run_training(replace(config, data=str(data), register=""))
        model = load_served(result.model_uri)
        unseen = ask(model, photos_of(root, left_out))
        answers = mlflow.artifacts.load_text(f"runs:/{result.run_id}/test_answers.csv")
        return judge(pd.read_csv(io.StringIO(answers), keep_default_na=False), unseen, left_out)


_MEASURES = {
    "top1": "top-1 of the landmarks learnt",
    "known_tagged": "of their photos tagged",
    "everyday_auroc": "AUROC against everyday photos",
    "everyday_tagged": "of everyday photos tagged",
    "unseen_auroc": "AUROC against landmarks never seen",
    "unseen_at_95_recall": "of their photos kept where 95% of the known are",
    "unseen_tagged": "of their photos tagged",
}


def report(draws: Sequence[Rejection]) -> str:
    """Mean over the draws, and the least and most of them."""
    rows = []
    for name, text in _MEASURES.items():
        values = [getattr(draw, name) for draw in draws]
        spread = f"{min(values):.3f} to {max(values):.3f}"
        rows.append([text, f"{fmean(values):.3f}", spread])
    return table(["", "mean", f"of {len(draws)} draws"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the data cannot be used so."""
    options = _parser().parse_args(argv)
    config = RECIPES[options.recipe]()
    if options.cache_dir:
        config = replace(config, cache_dir=str(options.cache_dir))
    chance = random.Random(options.seed)  # noqa: S311 - which landmarks are drawn is no secret
    try:
        _, root = find_root(options.data, Path(config.cache_dir), config.udacity50_url)
        folders = class_folders(root)
        if len(folders) < options.leave + 2:
            raise ValueError(
                f"{root} holds {len(folders)} landmarks: without {options.leave} fewer than two are"
                f" left; leave out at most {max(0, len(folders) - 2)} with --leave"
            )
        turns = [sorted(chance.sample(folders, options.leave)) for _ in range(options.draws)]
        with _own_store():
            draws = [run_draw(root, config, turn) for turn in tqdm(turns, desc="draws")]
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{report(draws)}\n")
    photos = int(np.mean([draw.unseen_photos for draw in draws]))
    sys.stdout.write(f"{options.leave} landmarks of {len(folders)} left out, {photos} photos\n")
    facts = {"machine": machine(PACKAGES), "recipe": options.recipe, "data": root.name}
    write_json(options.out, facts | {"draws": [asdict(draw) for draw in draws]})
    return 0


@contextlib.contextmanager
def _own_store() -> Iterator[None]:
    """Tracking of its own, so that nobody's experiment fills with models of fewer landmarks."""
    before = mlflow.get_tracking_uri()
    with tempfile.TemporaryDirectory(prefix="rejection-") as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        store = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": _EXPERIMENT}
        mlflow.set_tracking_uri(uri)
        mlflow.create_experiment(_EXPERIMENT, f"{folder}/artifacts")
        with patch.dict(os.environ, store):
            yield
    mlflow.set_tracking_uri(before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rejection", description=__doc__)
    parser.add_argument("--data", default="postcards", help="folder of landmarks (%(default)s)")
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--leave", type=int, default=8, help="landmarks left out (%(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="of landmarks (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (%(default)s)")
    parser.add_argument("--cache_dir", type=Path, help="as of training")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/rejection.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
