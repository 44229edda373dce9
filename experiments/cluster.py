"""`mlflow run . -e cluster -P photos=s3://…`: the tagger's table, made by a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import cli
from experiments.tag import print_counts, print_passed_over
from landmark_ml.config import ClusterConfig

if TYPE_CHECKING:
    from serving.cluster import ClusterResult


def main() -> None:
    """Tag the photos and print what they show; refused photos are no failure."""
    config = cli.parse(ClusterConfig(), __doc__ or "")

    from serving.cluster import run_cluster_tagging

    print_tagging(run_cluster_tagging(config))


def print_tagging(result: ClusterResult) -> None:
    """Print the landmarks found, the photos that have no answer, and where the table is."""
    print_counts(result, result.seconds)
    print_passed_over(result.other_pictures, result.unreadable)
    print(f"table       {result.out}: {result.parts:,} parts, read together as one Parquet table")
    print(f"run         {result.location}")


if __name__ == "__main__":
    cli.run(main)
