"""`python -m benchmarks.cluster`: what the cluster path costs on one machine, beside the tagger.

Round after round, in turn and on the same photos and cores: the plain tagger, the cluster path, and
the cluster path again where nothing is left to do. The last is what it costs before its first
photo: actors that start and load the model. Ray itself is started once and timed apart.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.tables import arguments, in_turn, table, tell
from benchmarks.tagging import photos_of
from benchmarks.tagging_memory import linked
from experiments.cli import run
from landmark_ml.config import ClusterConfig, TagConfig
from landmark_ml.tracking import run as tracking
from serving.champion import exported_network, find_version, load_version
from serving.cluster.tagger import RayWorkers, tag_photos
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library

TAGGER, CLUSTER, NOTHING = "tagger", "cluster", "cluster, nothing left"


def report(
    spent: Mapping[str, Sequence[tuple[float, float]]], photos: int, cores: int, ray_start: float
) -> str:
    """Photos a second beside the tagger's, once from the cluster's first photo on."""
    middle = {name: statistics.median(wall for wall, _ in each) for name, each in spent.items()}
    beyond = middle[CLUSTER] - middle[NOTHING]
    rates = {
        TAGGER: photos / middle[TAGGER],
        CLUSTER: photos / middle[CLUSTER],
        "cluster, once it runs": photos / beyond if beyond > 0 else float("nan"),
    }
    rows = [[name, f"{rate:.1f}", f"{rate / rates[TAGGER]:.2f}"] for name, rate in rates.items()]
    return (
        f"{table(['', 'photos/s', 'of the tagger'], rows)}\n{photos} photos, {cores} core(s);"
        f" start of Ray {ray_start:.1f} s, of the workers {middle[NOTHING]:.1f} s"
    )


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
        workers, started = RayWorkers(workers=options.cores), time.perf_counter()
        with workers.joined():
            ray_start = time.perf_counter() - started

            def tag(turn: int) -> None:
                config = TagConfig(photos=str(library.root), out=f"{scratch}/tags{turn}")
                tag_library(library, loaded, config)

            def tag_parts(turn: int) -> None:
                config = ClusterConfig(
                    photos=str(library.root),
                    out=f"{scratch}/parts{turn}",
                    part_photos=options.part,
                )
                tag_photos(config, loaded.label, network, workers.tag)

            works = {TAGGER: tag, CLUSTER: tag_parts, NOTHING: tag_parts}
            spent = in_turn(works, options.rounds)
    shown = report(spent, options.copies * len(paths), options.cores, ray_start)
    packages = ("ray", "openvino", "pillow")
    tell(options.out, shown, packages, seconds=spent, ray_start=ray_start)


if __name__ == "__main__":
    run(main)
