"""`landmarks data`: look at a dataset and learn what is wrong with it before training."""

from experiments import recipes
from landmark_ml.config import DataConfig, repeated
from landmark_ml.reports.dataset_report import report_dataset, summarise


def main(config: DataConfig) -> None:
    """Log the figures, print what the dataset holds and its issues; issues are no failure."""
    result = report_dataset(config, recipes.transfer())
    print(f"\n{result.description}\n")
    print(summarise(result.issues))
    print(f"run  {result.location}")
    print("\nnext:")
    print("  make ui   see the figures and the issues in MLflow")
    own = "" if config.data == "postcards" else " model=photos"
    print(f"  make transfer{repeated(config, DataConfig())}{own}   train on it")
