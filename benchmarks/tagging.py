"""`python -m benchmarks.tagging`: how near the tagger comes to what decoding and network allow.

Three things in turn, round after round, on the same photos and all cores: decoding alone (JPEGs at
the scale the network needs), the network alone on photos already decoded, and the tagger from
files to its journal. Medians of the rounds are set side by side, so that all see the same machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landmark_ml import tracking
from landmark_ml.config import TagConfig
from serving.tagging.answering import load_answering
from serving.tagging.tagger import tag_library
from serving.tagging.walk import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.predictor import Predictor
    from serving.tagging.answering import Answering

DEFAULT_PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "originals"
_BATCH = 4


def photos_per_second(
    answering: Answering, photos: Path, copies: int, rounds: int
) -> dict[str, float]:
    """Median rates of decoding, network and tagger over interleaved rounds after a warm-up."""
    paths = [photos / found.path for found in Library(photos).walk()]
    if not paths:
        raise ValueError(f"{photos} holds no photo; name a folder with --photos")
    rates: dict[str, list[float]] = {"decode": [], "network": [], "tagger": []}
    with tempfile.TemporaryDirectory() as scratch:
        library = _linked(paths, copies, Path(scratch) / "photos")
        works: dict[str, Callable[[int], None]] = {
            "decode": lambda _: _decode(answering.predictor, paths * copies),
            "network": lambda _: _run(answering.predictor, len(paths) * copies),
            "tagger": lambda turn: _tag(library, answering, Path(scratch) / f"out{turn}"),
        }
        for turn in range(rounds + 1):
            for name, work in works.items():
                started = time.perf_counter()
                work(turn)
                if turn:
                    rates[name].append(len(paths) * copies / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def table(rates: dict[str, float]) -> str:
    """Rates, and the tagger's share of each bound.

    `both` is what cores reach that decode and recognise one after the other.
    """
    both = 1 / (1 / rates["decode"] + 1 / rates["network"])
    bounds = {"decode": rates["decode"], "network": rates["network"], "both": both}
    lines = [f"{name:8}{rate:10.1f} photos/s" for name, rate in (rates | bounds).items()]
    lines += [f"tagger of {name:8}{rates['tagger'] / rate:8.1%}" for name, rate in bounds.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when there is no photo or no model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tagging", description=__doc__)
    parser.add_argument("--photos", type=Path, default=DEFAULT_PHOTOS, help="default: originals")
    parser.add_argument("--model", default="landmarks", help="default: %(default)s")
    parser.add_argument("--copies", type=int, default=4, help="of each photo (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args(argv)
    tracking.connect()
    try:
        answering = load_answering(options.model)
        rates = photos_per_second(answering, options.photos, options.copies, options.rounds)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    sys.stdout.write(f"{table(rates)}\n{os.cpu_count()} cores, load {load:.1f}\n")
    return 0


def _linked(paths: Sequence[Path], copies: int, folder: Path) -> Library:
    for copy in range(copies):
        (folder / str(copy)).mkdir(parents=True)
        for path in paths:
            (folder / str(copy) / path.name).symlink_to(path.resolve())
    return Library(folder)


def _decode(predictor: Predictor, paths: Sequence[Path]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(predictor.metadata.preprocessing.read, paths))


def _run(predictor: Predictor, count: int) -> None:
    side = predictor.metadata.preprocessing.resolution
    pixels = np.zeros((_BATCH, side, side, 3), dtype=np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: predictor.batch_graph.run(pixels), range(count // _BATCH)))


def _tag(library: Library, answering: Answering, out: Path) -> None:
    tag_library(library, answering, TagConfig(photos=str(library.root), out=str(out)))


if __name__ == "__main__":
    sys.exit(main())
