"""`landmarks data`: look at a dataset and learn what is wrong with it before training."""

import shlex

from experiments import recipes
from landmark_ml.config import DataConfig
from landmark_ml.reports.dataset_report import report_dataset
from landmark_ml.training.phases import draw_training_photos


def main(config: DataConfig) -> None:
    """Log the figures, print what the dataset holds and its issues; issues are no failure."""
    result = report_dataset(config, recipes.transfer(), draw_training_photos)
    print(f"\n{result.description}\n")
    print(result.issues.summary())
    print(f"run  {result.location}")
    print("\nnext:")
    print("  make ui   see the figures and the issues in MLflow")
    own = "" if config.data == "postcards" else f" data={shlex.quote(config.data)} model=photos"
    print(f"  make transfer{own}   train on it")
