"""`python -m benchmarks.tagging`: how near the tagger comes to what decoding and network allow.

Three things in turn, round after round, on the same photos and all cores: decoding alone (JPEGs at
the scale the network needs), the network alone on four of the photos, decoded beforehand, and the
tagger from files to its journal and tables. Medians of the rounds are set side by side, so that all
see the same machine. Then the tagger's memory, for a library and for one four times as large.

Photos do not depend on one another, so the machine-hours of 100 million photos follow from the
rates: of one machine for long or of a thousand for a short while. They do not hold the time to
bring the photos to the machines. What a photo costs depends on its size most of all: measure with
photos like yours.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import arguments, in_turn, table, tell
from benchmarks.tagging_memory import Peak, linked, peak_of
from experiments.cli import run
from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from landmark_ml.tracking import run as tracking
from serving.champion import Loaded, find_version, load_version
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library

_BATCH = 4
_LARGER = 4
_MANY = 100_000_000


@dataclass
class Speed:
    """Photos a second, and milliseconds of CPU time a photo, of each round."""

    rates: list[float]
    cpu_ms: list[float]

    @property
    def rate(self) -> float:
        """Median photos a second."""
        return statistics.median(self.rates)


def speeds(loaded: Loaded, paths: Sequence[Path], copies: int, rounds: int) -> dict[str, Speed]:
    """Decoding, network and tagger over interleaved rounds after a warm-up."""
    photos = len(paths) * copies
    read = loaded.predictor.metadata.preprocessing.read
    pixels = np.stack([read(path) for path in paths[:_BATCH]])
    with tempfile.TemporaryDirectory() as scratch:
        library = Library(linked(paths, photos, Path(scratch) / "photos"))
        works: dict[str, Callable[[int], None]] = {
            "decode": lambda _: _decode(loaded.predictor, list(paths) * copies),
            "network": lambda _: _run(loaded.predictor, pixels, photos),
            "tagger": lambda turn: _tag(library, loaded, Path(scratch) / f"out{turn}"),
        }
        found = in_turn(works, rounds)
    return {
        name: Speed([photos / wall for wall, _ in spent], [1000 * cpu / photos for _, cpu in spent])
        for name, spent in found.items()
    }


def photos_of(folder: Path) -> list[Path]:
    """Photos of a folder at any depth. Raises ValueError when it holds none."""
    paths = [folder / found.path for found in Library(folder).walk()]
    if not paths:
        raise ValueError(f"{folder} holds no photo; name a folder with --photos")
    return paths


def mean_size(paths: Sequence[Path]) -> tuple[float, float]:
    """Megabytes and megapixels of photos, the mean of each."""
    pixels = []
    for path in paths:
        with Image.open(path) as photo:
            pixels.append(photo.width * photo.height)
    sizes = [path.stat().st_size for path in paths]
    return statistics.fmean(sizes) / 1e6, statistics.fmean(pixels) / 1e6


def report(found: Mapping[str, Speed]) -> str:
    """Rates with what they mean for many photos, and the tagger's share of each bound.

    One after the other: what cores reach that do nothing but decode and recognise.
    """
    rows = [
        [
            name,
            f"{speed.rate:.1f}",
            f"{min(speed.rates):.1f} to {max(speed.rates):.1f}",
            f"{statistics.median(speed.cpu_ms):.1f}",
            f"{_MANY / speed.rate / 3600:,.0f}",
        ]
        for name, speed in found.items()
    ]
    decode, network, tagger = (speed.rate for speed in found.values())
    bounds = {
        "the faster of decode and network": max(decode, network),
        "the slower of the two": min(decode, network),
        "both, one after the other": 1 / (1 / decode + 1 / network),
    }
    shares = [[name, f"{bound:.1f}", f"{tagger / bound:.2f}"] for name, bound in bounds.items()]
    header = ("", "photos/s", "spread", "CPU ms a photo", f"machine-hours for {_MANY:,}")
    bound = table(("bound", "photos/s", "tagger is times"), shares)
    return f"{table(header, rows)}\n\n{bound}"


def memory_table(peaks: Sequence[Peak]) -> str:
    """Memory of libraries of different size, and their whole time with sidecars and gallery."""
    rows = [
        [f"{one.photos:,} photos", *(f"{n:.0f}" for n in (one.seconds, one.before_mb, one.peak_mb))]
        for one in peaks
    ]
    return table(("library", "seconds", "MB before", "MB at the peak"), rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print. Raises ValueError when there is no photo or no model."""
    parser = arguments("tagging", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--model", default="landmarks", help="default: %(default)s")
    parser.add_argument("--copies", type=int, default=16, help="of each photo (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--memory", type=int, default=1000, help="photos of the smaller library; 0: none (1000)"
    )
    options = parser.parse_args(argv)
    tracking.connect()
    paths = photos_of(options.photos)
    megabytes, megapixels = mean_size(paths)
    loaded = load_version(find_version(options.model))
    found = speeds(loaded, paths, options.copies, options.rounds)
    sizes = (options.memory, _LARGER * options.memory) if options.memory else ()
    peaks = [peak_of(paths, size, options.model) for size in sizes]
    tell(
        options.out,
        f"{report(found)}\n\nphotos of {megabytes:.1f} MB, {megapixels:.1f} megapixels;"
        f" {os.cpu_count()} cores\n\n{memory_table(peaks) if peaks else ''}",
        ("openvino", "pillow", "numpy"),
        megabytes=megabytes,
        megapixels=megapixels,
        memory=[asdict(peak) for peak in peaks],
        **{name: asdict(speed) for name, speed in found.items()},
    )


def _decode(predictor: Predictor, paths: Sequence[Path]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(predictor.metadata.preprocessing.read, paths))


def _run(predictor: Predictor, pixels: NDArray[np.uint8], count: int) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: predictor.batch_runtime.run(pixels), range(count // len(pixels))))


def _tag(library: Library, loaded: Loaded, out: Path) -> None:
    tag_library(library, loaded, TagConfig(photos=str(library.root), out=str(out)))


if __name__ == "__main__":
    run(main)
