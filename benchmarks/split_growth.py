"""How many photos change their split when a library changes: made-up photos, no file is read.

`python -m benchmarks.split_growth` prints the table of docs/training.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.tables import arguments, table, tell
from landmark_ml.data import SPLITS, Photo
from landmark_ml.data.near_duplicates import GroupedPhoto
from landmark_ml.data.splits import Fractions, split_photos

Library = list[GroupedPhoto]

LANDMARKS, PHOTOS = 50, 75
FRACTIONS = Fractions(val=0.15, test=0.15)
_WIDTH = 400


def report(seeds: int, photos: int = PHOTOS) -> list[tuple[str, ...]]:
    """A row for each change: photos that moved, those that came to test, and the share of test."""
    found: dict[str, list[tuple[int, int, int, float]]] = {}
    for seed in range(seeds):
        chance, numbers = np.random.default_rng(seed), count(seed * 1_000_000)
        library = _photos(np.arange(LANDMARKS * photos) % LANDMARKS, numbers)
        before = _splits(library, seed)
        for name, changed in _changes(library, photos, chance, numbers).items():
            after = _splits(changed, seed)
            both = before.keys() & after.keys()
            moved = [content for content in both if before[content] != after[content]]
            tested = sum(after[content] == "test" for content in moved)
            share = sum(split == "test" for split in after.values()) / len(after)
            found.setdefault(name, []).append((len(moved), len(both), tested, share))
    rows: list[tuple[str, ...]] = []
    for name, draws in found.items():
        moved_, both_, tested_, shares = zip(*draws, strict=True)
        cells = f"{sum(moved_):,} of {sum(both_):,}", f"{sum(tested_):,}"
        rows.append((name, *cells, f"{min(shares):.3f} to {max(shares):.3f}"))
    return rows


def _changes(
    library: Library, photos: int, chance: np.random.Generator, numbers: Iterable[int]
) -> dict[str, Library]:
    def more(share: float) -> Library:
        return _photos(chance.integers(LANDMARKS, size=round(share * len(library))), numbers)

    drawn = [library[row] for row in chance.permutation(len(library))]
    copied = drawn[: len(library) // 50]
    copies = _photos([item.photo.label for item in copied], numbers)

    def copied_at(width: int) -> Library:
        return [
            replace(copy, photo=replace(copy.photo, width=width), group=item.group)
            for copy, item in zip(copies, copied, strict=True)
        ]

    new = np.repeat(LANDMARKS + np.arange(5), photos)
    return {
        "2% more photos": library + more(0.02),
        "10% more photos": library + more(0.1),
        "five more landmarks": library + _photos(new, numbers),
        "10% fewer photos": drawn[len(library) // 10 :],
        "smaller copies of 2%": library + copied_at(_WIDTH // 2),
        "copies of 2% of the same size": library + copied_at(_WIDTH),
        "larger copies of 2%": library + copied_at(2 * _WIDTH),
    }


def _photos(labels: Iterable[int], numbers: Iterable[int]) -> Library:
    """Photos that look like no other, one for each label."""
    made = []
    for label, number in zip(labels, numbers, strict=False):
        content = hashlib.sha256(str(number).encode()).hexdigest()
        photo = Photo(Path(content), int(label), content, _WIDTH, _WIDTH)
        made.append(GroupedPhoto(photo, number, None))
    return made


def _splits(library: Library, seed: int) -> dict[str, str]:
    found = split_photos(library, FRACTIONS, seed)
    return {photo.sha256: split for split in SPLITS for photo in getattr(found, split)}


def main() -> None:
    """Print the table."""
    parser = arguments("split_growth", __doc__)
    parser.add_argument("--seeds", type=int, default=10, help="libraries (%(default)s)")
    parser.add_argument(
        "--photos", type=int, default=PHOTOS, help="photos of each landmark (%(default)s)"
    )
    options = parser.parse_args()
    header = ("a library with", "photos that moved", "to test", "share of test")
    rows = report(options.seeds, options.photos)
    tell(options.out, table(header, rows), rows=rows)


if __name__ == "__main__":
    main()
