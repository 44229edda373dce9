"""Tag a photo library: write a table, sidecars, albums and a gallery; photos are only ever read.

Gives `run_tagging` to the command line, and its walk, recognition and table rows to the cluster.
"""

from serving.tagging.places import PhotoLocations, read_places
from serving.tagging.recognition import find_version, may_change, recognise
from serving.tagging.table import SCHEMA, Counts, printable, table_row
from serving.tagging.tagger import TagResult, run_tagging
from serving.tagging.walk import MAX_READ_BYTES, OTHER_PICTURES, PHOTO_SUFFIXES, Found, Library

__all__ = [
    "MAX_READ_BYTES",
    "OTHER_PICTURES",
    "PHOTO_SUFFIXES",
    "SCHEMA",
    "Counts",
    "Found",
    "Library",
    "PhotoLocations",
    "TagResult",
    "find_version",
    "may_change",
    "printable",
    "read_places",
    "recognise",
    "run_tagging",
    "table_row",
]
