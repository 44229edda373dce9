"""`python -m serving.tag --photos=<folder>`: the same as `mlflow run . -e tag`."""

from experiments import cli
from experiments.tag import main

if __name__ == "__main__":
    cli.run(main)
