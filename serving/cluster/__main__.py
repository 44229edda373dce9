"""`python -m serving.cluster --photos=<folder>`: the same as `mlflow run . -e cluster`."""

from experiments import cli
from experiments.cluster import main

if __name__ == "__main__":
    cli.run(main)
