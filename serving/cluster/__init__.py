"""Tag photo libraries that are too large for one machine, with Ray; same rows as the tagger's.

Gives `run_cluster_tagging` to the command line.
"""

from serving.cluster.tagger import ClusterResult, run_cluster_tagging
