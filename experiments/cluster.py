"""`mlflow run . -e cluster -P photos=s3://…`: the tagger's table, made by a Ray cluster."""

from experiments import cli
from experiments.tag import print_counts
from landmark_ml.config import ClusterConfig


def main() -> None:
    """Tag the photos and print what they show; refused photos are no failure."""
    config = cli.parse(ClusterConfig(), __doc__ or "")

    from serving.cluster import run_cluster_tagging

    result = run_cluster_tagging(config)
    print_counts(result)
    print(f"table       {result.out}: {result.parts:,} parts, read together as one Parquet table")
    print(f"run         {result.location}")


if __name__ == "__main__":
    cli.run(main)
