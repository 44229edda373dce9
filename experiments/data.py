"""`mlflow run . -e data`: look at a dataset and learn what is wrong with it before training."""

from experiments import cli, recipes
from landmark_ml.config import DataConfig


def main() -> None:
    """Log the figures, print what the dataset holds and its issues; issues are no failure."""
    config = cli.parse(DataConfig(), __doc__ or "")

    from landmark_ml.reports.dataset_report import report_dataset
    from landmark_ml.training.phases import draw_training_photos

    result = report_dataset(config, recipes.transfer(), draw_training_photos)
    print(f"\n{result.description}\n")
    print(result.issues.summary())
    print(f"run  {result.location}")
    print("\nnext:")
    print("  make ui   see the figures and the issues in MLflow")
    print('  make transfer PARAMS="-P data=<folder>" MODEL=photos   train on it')


if __name__ == "__main__":
    cli.run(main)
