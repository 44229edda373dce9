"""`landmarks cluster s3://…`: the tagger's table, made by a Ray cluster."""

from experiments.tag import print_counts
from landmark_ml.config import ClusterConfig
from landmark_ml.console import counted
from serving.cluster import ClusterResult, run_cluster_tagging


def main(config: ClusterConfig) -> None:
    """Tag the photos and print what they show; single photos that are refused are no failure."""
    run_cluster_tagging(config, print_tagging)


def print_tagging(result: ClusterResult) -> None:
    """Print what the photos show and where the table is."""
    print_counts(result)
    parts = counted(result.parts, "part")
    print(f"table       {result.out}: {parts}, read together as one Parquet table")
    print(f"run         {result.location}")
