"""`landmarks cluster s3://…`: the tagger's table, made by a Ray cluster."""

from experiments.tag import print_counts
from landmark_ml.config import ClusterConfig
from serving.cluster import run_cluster_tagging


def main(config: ClusterConfig) -> None:
    """Tag the photos and print what they show; refused photos are no failure."""
    result = run_cluster_tagging(config)
    print_counts(result)
    print(f"table       {result.out}: {result.parts:,} parts, read together as one Parquet table")
    print(f"run         {result.location}")
