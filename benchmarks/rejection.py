"""`python -m benchmarks.rejection --data <folder>`: how a model answers what it never saw.

Trains the recipe without some of the landmarks, several times, each time without others, and asks
the served model about its test photos, about everyday photos and about all photos of the landmarks
that it never saw. Everyday photos help to train the background, so only those of the test split are
asked about, and all of them with `--no_everyday`; a landmark left out appears nowhere in the
training. Runs are logged to a store of their own that is removed at the end.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import mlflow
from tqdm.auto import tqdm

from benchmarks.tables import arguments, table, tell
from experiments import recipes
from experiments.cli import run
from landmark_ml.config import EvaluateConfig, TrainConfig
from landmark_ml.data.folders import list_distractors, list_folder
from landmark_ml.data.opening import find_root
from landmark_ml.evaluation.report import run_evaluation
from landmark_ml.training.run import run_training

PACKAGES = ("openvino", "scikit-learn", "timm", "torch")
RECIPES = {"transfer": recipes.transfer, "ensemble": recipes.ensemble}
_EXPERIMENT = "rejection"


def leave_out(
    root: Path, left_out: Collection[str], folder: Path, *, everyday: bool = True
) -> Path:
    """Link all photos of `root`, those of no landmark beside it too, but those of some landmarks.

    left_out: names of classes, as `list_folder` gives them. everyday: False leaves out the photos
    of no landmark. Returns the dataset within folder.
    """
    classes, files = list_folder(root)
    kept = [file.path for file in files if classes[file.label] not in left_out]
    if everyday:
        kept += [file.path for file in list_distractors(root, None)]
    for path in [*kept, *root.glob("places.csv")]:
        link = folder / path.relative_to(root.parent)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder / root.name


def run_draw(
    root: Path, config: TrainConfig, left_out: Sequence[str], *, everyday: bool
) -> dict[str, float]:
    """Train without some landmarks, and evaluate on every photo that was not trained on."""
    with tempfile.TemporaryDirectory(prefix="left-out-") as folder:
        data = leave_out(root, left_out, Path(folder), everyday=everyday)
        trained = run_training(replace(config, data=str(data), model=""))
        asked = EvaluateConfig(
            model=trained.model_uri,
            data=str(root),
            photos="all",
            corrupted_photos=0,
            # Intervals of one draw are not shown.
            resamples=1,
            cache_dir=config.cache_dir,
            threads=config.threads,
        )
        return run_evaluation(asked).report.metrics


_MEASURES = {
    "top1": "top-1 on the learned landmarks",
    "landmarks_tagged": "share of their photos tagged",
    "auroc": "AUROC against everyday photos",
    "distractors_tagged": "share of everyday photos tagged",
    "unseen_auroc": "AUROC against landmarks never seen",
    "unseen_fpr_at_95_recall": "share of their photos kept where 95% of the known are",
    "unseen_tagged": "share of their photos tagged",
}


def report(draws: Sequence[dict[str, float]]) -> str:
    """Mean over the draws, and the least and most of them."""
    rows = []
    for name, text in _MEASURES.items():
        values = [draw[name] for draw in draws]
        spread = f"{min(values):.3f} to {max(values):.3f}"
        rows.append([text, f"{fmean(values):.3f}", spread])
    return table(["", "mean", f"of {len(draws)} draws"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print. Raises ValueError when the data cannot be used so."""
    parser = arguments("rejection", __doc__)
    parser.add_argument("--data", default="postcards", help="folder of landmarks (%(default)s)")
    parser.add_argument("--recipe", choices=RECIPES, default="transfer")
    parser.add_argument("--leave", type=int, default=8, help="landmarks left out (%(default)s)")
    parser.add_argument("--learn", type=int, help="landmarks learned, instead of --leave")
    parser.add_argument("--no_everyday", action="store_true", help="train without not_landmarks/")
    parser.add_argument("--draws", type=int, default=5, help="of landmarks (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (%(default)s)")
    parser.add_argument("--cache_dir", default=TrainConfig().cache_dir, help="as of training")
    options = parser.parse_args(argv)
    config = replace(RECIPES[options.recipe](), cache_dir=options.cache_dir)
    chance = random.Random(options.seed)  # noqa: S311 - which landmarks are drawn is no secret
    _, root = find_root(replace(config, data=options.data))
    classes, _ = list_folder(root)
    leave = len(classes) - options.learn if options.learn else options.leave
    if not 0 < leave <= len(classes) - 2:
        raise ValueError(
            f"{root} holds {len(classes)} landmarks, of which {leave} would be left out; learn"
            f" at least 2, and leave out at most {max(0, len(classes) - 2)} with --leave"
        )
    turns = [chance.sample(classes, leave) for _ in range(options.draws)]
    # Tracking of its own, so that nobody's experiment fills with models of fewer landmarks.
    with tempfile.TemporaryDirectory(prefix="rejection-") as folder:
        os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder}/mlflow.db"
        os.environ["MLFLOW_EXPERIMENT_NAME"] = _EXPERIMENT
        mlflow.set_tracking_uri(uri)
        mlflow.create_experiment(_EXPERIMENT, f"{folder}/artifacts")
        draws = [
            run_draw(root, config, turn, everyday=not options.no_everyday)
            for turn in tqdm(turns, desc="draws")
        ]
    photos = fmean(draw["unseen_photos"] for draw in draws)
    tell(
        options.out,
        f"{report(draws)}\n{leave} landmarks of {len(classes)} left out, {photos:.0f} photos",
        PACKAGES,
        recipe=options.recipe,
        data=root.name,
        draws=[{"left_out": turn, **draw} for turn, draw in zip(turns, draws, strict=True)],
    )


if __name__ == "__main__":
    run(main)
