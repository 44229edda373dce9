"""`mlflow run . -e finetune`: fine-tune the last stages of a pretrained network."""

from __future__ import annotations

from experiments import cli, recipes
from experiments.summary import train_and_print


def main() -> None:
    """Train, evaluate, log, register, and say what came of it."""
    train_and_print(cli.parse(recipes.finetune(), __doc__ or ""))


if __name__ == "__main__":
    cli.run(main)
