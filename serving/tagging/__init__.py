"""Tag whole photo libraries: table, sidecars, albums. Photos themselves are only ever read."""

from serving.tagging.tagger import TagResult, run_tagging

__all__ = ["TagResult", "run_tagging"]
