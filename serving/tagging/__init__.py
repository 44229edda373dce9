"""Tag whole photo libraries: table, sidecars, albums. Photos themselves are only ever read."""

from serving.tagging.result import TagResult
from serving.tagging.tagger import run_tagging

__all__ = ["TagResult", "run_tagging"]
