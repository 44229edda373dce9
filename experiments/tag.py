"""`landmarks tag <folder>` or `--immich=<url>`: a table of what a photo library shows."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.config import TagConfig
from landmark_ml.console import counted
from landmark_ml.inference.predictor import what_to_expect
from serving.tagging import TagResult, run_tagging
from serving.tagging.library import printable

if TYPE_CHECKING:
    from serving.cluster import ClusterResult

MOST_SHOWN = 20


def main(config: TagConfig) -> None:
    """Tag the library and print what it holds; single photos that are refused are no failure."""
    run_tagging(config, print_tagging)


def print_tagging(result: TagResult) -> None:
    """Print the landmarks found, the photos that have no answer, and where the table is."""
    print_counts(result)
    if result.corrected:
        print(f"corrected   {counted(result.corrected, 'photo')}: see correction in the table")
    if result.by_neighbours or result.vetoed:
        print(
            f"neighbours  placed {counted(result.by_neighbours, 'photo')} and ruled out the"
            f" landmark of {counted(result.vetoed, 'photo')}: see neighbour and vetoed in the table"
        )
    print(f"to expect   {what_to_expect(result.expected)}")
    print(f"table       {result.out}/tags.parquet and tags.csv")
    if result.written:
        counts = ", ".join(f"{count:,} {action}" for action, count in result.written.items())
        dry = " if this were no dry run" if result.dry_run else ""
        print(f"{Path(result.listed).stem:11} {counts}{dry}: see {result.out}/{result.listed}")
    if not result.photos:
        print("nothing to do: each of your photos there has a position and a city")
    for (folder, reason), count in result.refusals.most_common(MOST_SHOWN):
        print(f"not written {counted(count, result.unit)} in {folder}: {reason}")
    if (more := len(result.refusals) - MOST_SHOWN) > 0:
        print(f"not written and {more:,} more: {result.listed} says where and why")
    if result.in_albums:
        print(f"albums      {counted(result.in_albums, 'photo')}: see {result.out}/albums.csv")
    if result.gallery:
        print(f"gallery     open {result.gallery} in a browser")
    print(f"run         {result.location}")


def print_counts(result: TagResult | ClusterResult) -> None:
    """Print the landmarks found, how fast photos were recognised, and what has no answer."""
    for landmark, count in result.most_photographed()[:MOST_SHOWN]:
        print(f"{count:8,}  {landmark}")
    areas = "".join(f", of a {level} {count:,}" for level, count in sorted(result.areas.items()))
    print(f"\nphotos      {result.photos:,}, of a landmark {result.landmarks.total():,}{areas}")
    if result.recognised:
        seconds, rate = result.seconds, result.recognised / result.seconds
        print(f"recognised  {result.recognised:,} in {seconds:.1f} s, {rate:.1f} photos/s")
    for path, code, reason in result.examples:
        print(f"no answer   {path}: {code}: {reason}")
    if (more := result.refused.total() - len(result.examples)) > 0:
        print(f"no answer   and {more:,} more: error_code in the table says which and why")
    for suffix, count in sorted(result.other_pictures.items()):
        print(
            f"not read    {counted(count, f'*{suffix} file')}; export as JPEG to have them tagged"
        )
    for folder, reason in islice(result.unreadable.items(), MOST_SHOWN):
        print(
            f"not opened  {printable(folder)}: {reason}; the table keeps what it has of its photos"
        )
    if (more := len(result.unreadable) - MOST_SHOWN) > 0:
        print(f"not opened  and {more:,} more: the warnings above say which and why")
