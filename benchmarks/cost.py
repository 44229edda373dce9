"""`python -m benchmarks.cost`: what tagging 100 million photos costs, from what some cost now.

Measures the tagger as `benchmarks.tagging` does, on all cores of this machine, and multiplies.
Photos do not depend on one another and memory does not grow with their number, so machine-hours may
be spent on one machine for long or on a thousand for a short while. Bringing the photos to the
machines is not in them; how many bytes that is stands beside them. What a photo costs depends on
its size most of all: measure with photos like yours.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from PIL import Image

from benchmarks.tables import machine, table, write_json
from benchmarks.tagging import photos_of, photos_per_second
from landmark_ml.tracking import run as tracking
from serving.champion import find_version, load_version

PACKAGES = ("openvino", "pillow", "numpy")
_HOUR = 3600


def machine_hours(photos: int, photos_per_second: float) -> float:
    """Hours that one machine of this rate is busy for, or as many machines for one hour."""
    return photos / photos_per_second / _HOUR


def mean_size(folder: Path) -> tuple[float, float]:
    """Megabytes and megapixels of the photos in a folder, the mean of each.

    Raises ValueError when it holds none.
    """
    paths = photos_of(folder)
    pixels = []
    for path in paths:
        with Image.open(path) as photo:
            pixels.append(photo.width * photo.height)
    return fmean(path.stat().st_size for path in paths) / 1e6, fmean(pixels) / 1e6


def report(rates: dict[str, float], photos: int, megabytes: float) -> str:
    """Machine-hours of the tagger and of its parts at measured photos a second."""
    shown = {"tagger": "tagger", "decode": "decoding alone", "network": "network alone"}
    rows = [
        [text, f"{rates[name]:.1f}", f"{machine_hours(photos, rates[name]):,.0f}"]
        for name, text in shown.items()
    ]
    header = [f"{os.cpu_count()} cores", "photos/s", f"machine-hours for {photos:,}"]
    return f"{table(header, rows)}\n{photos * megabytes / 1e6:,.0f} TB have to be read for that."


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when there is no photo or no model."""
    options = _parser().parse_args(argv)
    tracking.connect()
    try:
        megabytes, megapixels = mean_size(options.photos)
        loaded = load_version(find_version(options.model))
        rates = photos_per_second(loaded, options.photos, options.copies, options.rounds)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{report(rates, options.total, megabytes)}\n")
    load = os.getloadavg()[0]
    sys.stdout.write(
        f"photos of {megabytes:.1f} MB, {megapixels:.1f} megapixels; load {load:.1f}\n"
    )
    hours = machine_hours(options.total, rates["tagger"])
    facts = {"machine": machine(PACKAGES), "load": load, "photos_per_second": rates}
    sizes = {"megabytes": megabytes, "megapixels": megapixels, "photos": options.total}
    write_json(options.out, facts | sizes | {"machine_hours": hours})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--model", default="landmarks", help="registered model (%(default)s)")
    parser.add_argument("--total", type=int, default=100_000_000, help="default: %(default)s")
    parser.add_argument("--copies", type=int, default=4, help="of each photo (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/cost.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
