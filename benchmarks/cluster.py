"""`python -m benchmarks.cluster`: what the cluster path costs on one machine, beside the tagger.

Round after round, in turn and on the same photos and cores: the plain tagger, the cluster path, and
the cluster path again where nothing is left to do. The last is what it costs before its first
photo: actors that start and load the model. Ray itself is started once and timed apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.tables import arguments, table, tell
from benchmarks.tagging import photos_of
from benchmarks.tagging_memory import linked
from experiments.cli import run
from landmark_ml.config import ClusterConfig, TagConfig
from landmark_ml.tracking import run as tracking
from serving.champion import Loaded, exported_network, find_version, load_version
from serving.cluster.tagger import RayWorkers, tag_photos
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library

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
    library: Library, network: Mapping[str, bytes], loaded: Loaded, options: argparse.Namespace
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print. Raises ValueError when there is no photo, no model or no Ray."""
    parser = arguments("cluster", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--model", default="landmarks", help="default: %(default)s")
    parser.add_argument("--copies", type=int, default=16, help="of each photo (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--part", type=int, default=100, help="photos of a part (%(default)s)")
    options = parser.parse_args(argv)
    tracking.connect()
    with tempfile.TemporaryDirectory() as scratch:
        paths = photos_of(options.photos)
        library = Library(linked(paths, options.copies * len(paths), Path(scratch) / "photos"))
        version = find_version(options.model)
        loaded = load_version(version, threads=options.cores)
        with exported_network(version) as folder:
            network = {path.name: path.read_bytes() for path in folder.iterdir()}
        timings = measure(library, network, loaded, options)
    packages, ray_start = ("ray", "openvino", "pillow"), timings.ray_start
    tell(options.out, timings.table(), packages, seconds=timings.seconds, ray_start=ray_start)


if __name__ == "__main__":
    run(main)
