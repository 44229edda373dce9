"""`python -m benchmarks.input_pipeline --photos <folder>`: full-size JPEG files to ready batches.

Ours, torchvision's `ImageFolder` with a `DataLoader`, and the bound: libjpeg-turbo decoding at
reduced scale and nothing else, on all cores. Round by round, so that all see the same machine.
What a training does once is not counted: torchvision's scan of the folder, and the start of
all workers, which stay from round to round.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.peers.folders import cut_at_the_centre
from benchmarks.tables import arguments, in_turn, table, tell
from experiments.cli import run
from landmark_ml.inference.preprocessing import Preprocessing

SIDE = 224
BATCH = 32
CORES = os.cpu_count() or 1
PREPROCESSING = Preprocessing(SIDE, SIDE, "squash", "bicubic", (0.5,) * 3, (0.5,) * 3)


Read: TypeAlias = "Callable[[], int]"
"""Reads all photos once, as an epoch does; their number."""


@contextmanager
def ours(paths: Sequence[Path]) -> Iterator[Read]:
    """Batches uint8 [N, 224, 224, 3] as training and serving make them."""
    chunks = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    with ThreadPoolExecutor(CORES) as pool:
        yield lambda: sum(
            len(np.stack(list(pool.map(PREPROCESSING.read, chunk)))) for chunk in chunks
        )


@contextmanager
def torchvision(paths: Sequence[Path]) -> Iterator[Read]:
    """Batches float32 [N, 3, 224, 224] as torchvision's references make them.

    The workers start with the first read and stay.
    """
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "photos").mkdir()
        for number, path in enumerate(paths):
            (Path(scratch) / "photos" / f"{number}{path.suffix}").symlink_to(path.resolve())
        photos = ImageFolder(scratch, cut_at_the_centre(SIDE))
        loader = DataLoader(photos, BATCH, num_workers=CORES, persistent_workers=True)
        yield lambda: sum(len(batch) for batch, _ in loader)


@contextmanager
def scaled_decode(paths: Sequence[Path]) -> Iterator[Read]:
    """The bound: every photo decoded at the smallest scale that still has 224 pixels."""
    with ThreadPoolExecutor(CORES) as pool:
        yield lambda: sum(pool.map(_decode, paths))


READERS: dict[str, Callable[[Sequence[Path]], AbstractContextManager[Read]]] = {
    "ours": ours,
    "torchvision": torchvision,
    "scaled decode alone": scaled_decode,
}


def measure(paths: Sequence[Path], repeats: int) -> dict[str, list[float]]:
    """Photos a second of every reader in every round, after one round that is not counted."""
    with ExitStack() as ready:
        reads = {name: ready.enter_context(reader(paths)) for name, reader in READERS.items()}
        found = in_turn({name: partial(_call, read) for name, read in reads.items()}, repeats)
    return {name: [len(paths) / wall for wall, _ in spent] for name, spent in found.items()}


def _call(read: Read, _: int) -> int:
    return read()


def report(found: dict[str, list[float]]) -> str:
    """Median photos a second, their spread, and our ratio to each."""
    ours = median(found["ours"])
    rows = [
        [name, f"{median(s):.1f}", f"{min(s):.1f} to {max(s):.1f}", f"{ours / median(s):.2f}"]
        for name, s in found.items()
    ]
    return table(["", "photos/s", "spread", "ours is times"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure a folder of JPEG files. Raises ValueError when it holds none."""
    parser = arguments("input_pipeline", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEG files")
    # A worker of torchvision takes whole batches: with few of them, one waits for the other.
    parser.add_argument("--times", type=int, default=10, help="how often each file is read a round")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(argv)
    paths = sorted(options.photos.glob("*.jpg"))
    if not paths:
        raise ValueError(f"no .jpg file in {options.photos}; name another with --photos")
    found = measure(paths * options.times, options.repeats)
    packages = ("pillow", "torch", "torchvision")
    tell(options.out, report(found), packages, photos=len(paths), photos_per_second=found)


def _decode(path: Path) -> int:
    with Image.open(path) as photo:
        photo.draft("RGB", (SIDE, SIDE))
        photo.load()
    return 1


if __name__ == "__main__":
    run(main)
