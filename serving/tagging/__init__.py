"""Tag whole photo libraries: table, sidecars, albums. Photos themselves are only ever read."""

from serving.tagging.counts import Counts
from serving.tagging.loaded_version import find_version
from serving.tagging.recognition import may_change, recognise
from serving.tagging.result import TagResult
from serving.tagging.table import SCHEMA, printable, table_row
from serving.tagging.tagger import run_tagging
from serving.tagging.walk import (
    MOST_BYTES,
    OTHER_PICTURES,
    PHOTO_SUFFIXES,
    Found,
    Library,
)
from serving.tagging.whereabouts import OwnPlaces, read_places

__all__ = [
    "MOST_BYTES",
    "OTHER_PICTURES",
    "PHOTO_SUFFIXES",
    "SCHEMA",
    "Counts",
    "Found",
    "Library",
    "OwnPlaces",
    "TagResult",
    "find_version",
    "may_change",
    "printable",
    "read_places",
    "recognise",
    "run_tagging",
    "table_row",
]
