"""`mlflow run . -e ensemble`: learn landmarks on several frozen backbones side by side."""

from __future__ import annotations

from experiments import cli, recipes
from experiments.summary import print_result
from landmark_ml.training import run_training


def main() -> None:
    """Train, evaluate, log, register, and say what came of it."""
    print_result(run_training(cli.parse(recipes.ensemble(), __doc__ or "")))


if __name__ == "__main__":
    cli.run(main)
