"""Tag photo libraries too large for one machine, with Ray Data; rows as the tagger's."""

from serving.cluster.tagger import ClusterResult, run_cluster_tagging

__all__ = ["ClusterResult", "run_cluster_tagging"]
