"""Tag a photo library: write a table, sidecars, albums and a gallery; photos are only ever read.

Gives `run_tagging` to the command line, and its walk, recognition and table rows to the cluster.
"""

from serving.tagging.tagger import TagResult, run_tagging
