"""`mlflow run . -e data`: look at a dataset and learn what is wrong with it before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import cli, recipes
from landmark_ml.config import DataConfig

if TYPE_CHECKING:
    from landmark_ml.reports.dataset_report import InspectionResult


def main() -> None:
    """Log the figures and print the findings; findings are no failure."""
    config = cli.parse(DataConfig(), __doc__ or "")

    from landmark_ml.reports.dataset_report import run_inspection

    print_inspection(run_inspection(config, recipes.transfer()))


def print_inspection(result: InspectionResult) -> None:
    """Print what the dataset holds, what is wrong with it, and where the figures are."""
    from landmark_ml.reports.dataset_report import describe_dataset

    print(f"\n{describe_dataset(result.dataset)}\n")
    print(result.findings.summary())
    print(f"run  {result.location}")
    print("\nnext:")
    print("  make ui   see the figures and the findings in MLflow")
    print('  make transfer PARAMS="-P data=<folder>" MODEL=photos   train on it')


if __name__ == "__main__":
    cli.run(main)
