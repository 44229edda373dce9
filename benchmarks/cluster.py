"""`python -m benchmarks.cluster`: what the cluster path costs on one machine, beside the tagger.

Round after round, in turn and on the same photos and cores: the plain tagger, the cluster path, and
the cluster path again where nothing is left to do. The last is what it costs before its first
photo: actors that start and load the model. Ray itself is started once and timed apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.tables import machine, table, write_json
from benchmarks.tagging_memory import linked
from landmark_ml.config import ClusterConfig, TagConfig
from landmark_ml.tracking import run as tracking
from serving.champion import Loaded, exported_network, find_version, load_version
from serving.cluster.tagger import RayWorkers, tag_photos
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library

OUTPUT = Path("build/benchmarks/cluster.json")
TAGGER, CLUSTER, NOTHING = "tagger", "cluster", "cluster, nothing left"


@dataclass
class Timings:
    """Seconds of each round by what was run, and of starting Ray."""

    photos: int
    cores: int
    ray_start: float = 0.0
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {TAGGER: [], CLUSTER: [], NOTHING: []}
    )

    def median(self, name: str) -> float:
        """Seconds of the median round."""
        return statistics.median(self.seconds[name])

    def rates(self) -> dict[str, float]:
        """Photos a second; the cluster's second one counts from its first photo on."""
        beyond = self.median(CLUSTER) - self.median(NOTHING)
        return {
            TAGGER: self.photos / self.median(TAGGER),
            CLUSTER: self.photos / self.median(CLUSTER),
            "cluster, once it runs": self.photos / beyond if beyond > 0 else float("nan"),
        }

    def table(self) -> str:
        """Rates beside the tagger's, and what it costs to start."""
        rates = self.rates()
        ratios = {name: rate / rates[TAGGER] for name, rate in rates.items()}
        rows = [[name, f"{rates[name]:.1f}", f"{ratio:.2f}"] for name, ratio in ratios.items()]
        lines = [
            table(["", "photos/s", "of the tagger"], rows),
            f"{self.photos} photos, {self.cores} core(s); start of Ray {self.ray_start:.1f} s,"
            f" of the workers {self.median(NOTHING):.1f} s",
        ]
        return "\n".join(lines)


def measure(
    library: Library, network: Mapping[str, bytes], loaded: Loaded, options: Options
) -> Timings:
    """Interleaved rounds after one that warms up."""
    timings = Timings(sum(1 for _ in library.walk()), options.cores)
    workers = RayWorkers(workers=options.cores)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, workers.joined():
        timings.ray_start = time.perf_counter() - started
        for turn in range(options.rounds + 1):
            tags = TagConfig(photos=str(library.root), out=f"{scratch}/tags{turn}")
            parts = ClusterConfig(
                photos=str(library.root), out=f"{scratch}/parts{turn}", part_photos=options.part
            )
            works: dict[str, Callable[[], object]] = {
                TAGGER: partial(tag_library, library, loaded, tags),
                CLUSTER: partial(tag_photos, parts, loaded.label, network, workers),
                NOTHING: partial(tag_photos, parts, loaded.label, network, workers),
            }
            for name, work in works.items():
                started = time.perf_counter()
                work()
                if turn:
                    timings.seconds[name].append(time.perf_counter() - started)
    return timings


@dataclass(frozen=True)
class Options:
    """Rounds, cores and photos of a part."""

    rounds: int
    cores: int
    part: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when there is no photo, no model or no Ray."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--model", default="landmarks", help="default: %(default)s")
    parser.add_argument("--copies", type=int, default=16, help="of each photo (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--part", type=int, default=100, help="photos of a part (%(default)s)")
    given = parser.parse_args(argv)
    tracking.connect()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            library = _library(given.photos, given.copies, Path(scratch) / "photos")
            version = find_version(given.model)
            loaded = load_version(version, threads=given.cores)
            with exported_network(version) as folder:
                network = {path.name: path.read_bytes() for path in folder.iterdir()}
            options = Options(given.rounds, given.cores, given.part)
            timings = measure(library, network, loaded, options)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    sys.stdout.write(f"{timings.table()}\nload {load:.1f}\n")
    findings = {"seconds": timings.seconds, "ray start": timings.ray_start, "load": load}
    write_json(OUTPUT, {**machine(["ray", "openvino", "pillow"]), **findings})
    return 0


def _library(photos: Path, copies: int, folder: Path) -> Library:
    paths = [photos / found.path for found in Library(photos).walk()]
    if not paths:
        raise ValueError(f"{photos} holds no photo; name a folder with --photos")
    return Library(linked(paths, copies * len(paths), folder))


if __name__ == "__main__":
    sys.exit(main())
