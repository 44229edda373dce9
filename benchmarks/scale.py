"""How seconds and memory grow with the photos: each part at a tenth, a third and the whole.

`python -m benchmarks.scale --scan 200000`: made-up JPEGs through scanning, near-duplicates, splits
and manifest. Each size runs in a process of its own, and each part tells the most memory that the
process held meanwhile. The slope is that of the seconds in log-log: 1 is linear.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.tables import machine, resident_peak_mb, table, write_json
from landmark_ml.data import read_manifest, write_manifest
from landmark_ml.data.dataset import MANIFEST, Dataset
from landmark_ml.data.folders import list_folder
from landmark_ml.data.near_duplicates import GroupedPhoto, group_near_duplicates, read_and_group
from landmark_ml.data.splits import Fractions, split_photos

PHOTOS_A_LANDMARK = 100
OUT = Path("build/benchmarks/scale.json")
SHARES = (0.1, 1 / 3, 1.0)


@contextlib.contextmanager
def measured(part: str) -> Iterator[None]:
    """Print the seconds of a block and the most memory meanwhile, in 10^6 bytes, as JSON."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    started = time.perf_counter()
    yield
    row = {"part": part, "seconds": time.perf_counter() - started, "mb": resident_peak_mb()}
    sys.stdout.write(json.dumps(row) + "\n")


def scan(count: int, folder: Path) -> None:
    """Take made-up photos the way of every command: from files to splits and their manifest."""
    root = write_photos(count, folder / "photos")
    with measured("list folders"):
        classes, files = list_folder(root)
    with measured("read photos"):
        photos = [item.photo for item in read_and_group(files, folder, grouping="none")[0]]
    with measured("read them again"):
        read_and_group(files, folder, grouping="none")
    with measured("near-duplicates"):
        groups = group_near_duplicates(photos).tolist()
    with measured("splits"):
        grouped = [GroupedPhoto(*pair, None) for pair in zip(photos, groups, strict=True)]
        splits = split_photos(grouped, Fractions(val=0.15, test=0.15), seed=0)
    dataset = Dataset("made up", root, classes, **splits._asdict())
    with measured("write manifest"):
        write_manifest(dataset, folder / MANIFEST)
    with measured("read manifest"):
        read_manifest(folder / MANIFEST, root)


def write_photos(count: int, root: Path) -> Path:
    """Class folders of small JPEGs; one in twenty is a smaller copy of the one before."""

    def write(landmark: int) -> None:
        folder = root / f"{landmark:06}"
        folder.mkdir(parents=True)
        chance = np.random.default_rng(landmark)
        for number in range(min(PHOTOS_A_LANDMARK, count - landmark * PHOTOS_A_LANDMARK)):
            side = 96 if number % 20 else 80
            if number % 20 or not number:
                cells = chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                picture = Image.fromarray(cells).resize((96, 96), Image.Resampling.BICUBIC)
            picture.resize((side, side)).save(folder / f"{number:03}.jpg", quality=80)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(-(-count // PHOTOS_A_LANDMARK))))
    return root


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """By which power of the size the seconds grow, by least squares in log-log."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-3)), 1)[0])


def report(work: Sequence[str], count: int) -> str:
    """Run `--only` at three sizes, each in a new process, and make the table of their parts.

    work: the arguments that name the work, before its number of photos.
    """
    sizes = [round(count * share) for share in SHARES]
    found: dict[str, list[tuple[float, float]]] = {}
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scale", "--only", *work, str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        for row in map(json.loads, done.stdout.splitlines()):
            found.setdefault(row["part"], []).append((row["seconds"], row["mb"]))
    found["all"] = [
        (sum(seconds for seconds, _ in parts), max(mb for _, mb in parts))
        for parts in zip(*found.values(), strict=True)
    ]
    write_json(OUT, {"sizes": sizes, "parts": found, **machine()})
    rows = [
        (
            part,
            *(f"{seconds:,.1f} s, {mb / 1000:.1f} GB" for seconds, mb in cells),
            f"{slope(sizes, [seconds for seconds, _ in cells]):.2f}",
        )
        for part, cells in found.items()
    ]
    return table(["part", *(f"{size:,} photos" for size in sizes), "slope"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table of the work that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scan", type=int, default=0, help="made-up JPEGs to scan")
    parser.add_argument("--only", action="store_true", help="this size alone, in this process")
    given = parser.parse_args(argv)
    if not given.scan:
        parser.error("name the work, such as --scan 200000")
    if given.only:
        with tempfile.TemporaryDirectory() as folder:
            scan(given.scan, Path(folder))
    else:
        sys.stdout.write(report(["--scan"], given.scan) + "\n")


if __name__ == "__main__":
    main()
