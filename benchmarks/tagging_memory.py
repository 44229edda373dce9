"""How much memory the tagger needs at the most, measured in a process of its own.

Everything is asked for that goes through the whole library: table, sidecars (in a dry run), albums
and gallery.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.tables import resident_peak_mb
from landmark_ml.config import TagConfig
from landmark_ml.tracking import run as tracking
from serving.champion import Loaded, find_version, load_version
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library


@dataclass(frozen=True)
class Peak:
    """The most resident memory, in 10^6 bytes, before and while photos were tagged."""

    photos: int
    seconds: float
    before_mb: float
    peak_mb: float


def linked(paths: Sequence[Path], count: int, folder: Path) -> Path:
    """A library of `count` photos: links to these, each used as often as needed, 1,000 per folder.

    To the tagger each link to a file is a photo of its own; only folders are walked once.
    """
    for number in range(count):
        source = paths[number % len(paths)].resolve()
        link = folder / f"{number // 1000:03}" / f"{number:06}{source.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    return folder


def peak_of(paths: Sequence[Path], count: int, model: str) -> Peak:
    """Tag a library of `count` photos in a new process."""
    with tempfile.TemporaryDirectory() as scratch:
        library = linked(paths, count, Path(scratch) / "photos")
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", __name__, model, str(library), str(Path(scratch) / "out")],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ValueError(f"the tagger failed on {count} photos: {done.stderr[-2000:]}")
    return Peak(**json.loads(done.stdout))


def tag_and_measure(loaded: Loaded, photos: Path, out: Path) -> Peak:
    """Tag a library in this process, which should have done nothing else yet."""
    config = TagConfig(
        photos=str(photos),
        out=str(out),
        sidecars="photo.jpg.xmp",
        dry_run=True,
        albums="list",
        gallery=True,
    )
    before, started = resident_peak_mb(), time.perf_counter()
    result = tag_library(Library(photos), loaded, config)
    return Peak(result.photos, time.perf_counter() - started, before, resident_peak_mb())


def main(argv: Sequence[str]) -> None:
    """Tag a library with a registered model, and print the peak as JSON."""
    model, photos, out = argv
    tracking.connect()
    peak = tag_and_measure(load_version(find_version(model)), Path(photos), Path(out))
    sys.stdout.write(json.dumps(asdict(peak)) + os.linesep)


if __name__ == "__main__":
    main(sys.argv[1:])
