"""`mlflow run . -e evaluate`: judge a registered model on photos it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import cli
from landmark_ml.config import EvaluateConfig

if TYPE_CHECKING:
    from landmark_ml.evaluation.report import EvaluationResult


def main() -> None:
    """Ask the model, measure, log, and print what came of it."""
    config = cli.parse(EvaluateConfig(), __doc__ or "")

    with cli.importing():
        from landmark_ml.evaluation.report import run_evaluation

    print_evaluation(run_evaluation(config))


def print_evaluation(result: EvaluationResult) -> None:
    """Print the table of measures, which photos they are of, and where the page is."""
    from landmark_ml.evaluation.report import summary_table

    metrics, photos = result.report.metrics, result.photos
    rows = summary_table(result.report)
    width = max(len(name) for name, _ in rows)
    print(f"\n{result.model} on {metrics['photos']:.0f} landmark photos and", end=" ")
    print(f"{metrics['distractors']:.0f} without a landmark ({photos.dataset.name})")
    if photos.left_out:
        print(
            f"left out: {photos.left_out} photos the model was trained on or chosen by, copies too"
        )
    if photos.unchecked:
        print(f"not known: {photos.unchecked}")
    print()
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    print(f"\npage  {result.page}")
    print(f"run   {result.location}")


if __name__ == "__main__":
    cli.run(main)
