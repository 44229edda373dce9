"""Tag whole photo libraries: table, sidecars, albums. Photos themselves are only ever read."""

from serving.tagging.counts import Counts
from serving.tagging.result import TagResult
from serving.tagging.tagger import run_tagging

__all__ = ["Counts", "TagResult", "run_tagging"]
