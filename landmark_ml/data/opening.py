"""Open a dataset by name or folder: photos read, deduplicated across sides and split."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.config import UDACITY50_URL, user_path
from landmark_ml.data.dataset import Dataset, Side
from landmark_ml.data.folders import list_folder
from landmark_ml.data.near_duplicates import group_near_duplicates
from landmark_ml.data.scanning import Scan, scan_files
from landmark_ml.data.sources import find_root
from landmark_ml.data.spelling import spelled
from landmark_ml.data.splits import Fractions, PlacedPhoto, split_again, split_photos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.config import DataConfig
    from landmark_ml.data.dataset import Photo
    from landmark_ml.data.folders import FolderListing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetOptions:
    """How a dataset is opened.

    val_fraction, test_fraction: shares of a class, used where no such folder is given.
    not_landmarks: folder of photos of no landmark; by default `not_landmarks/` inside the root or
    beside it. cache_dir: where postcards are drawn and archives kept. max_unreadable: share of
    files that may be unreadable before opening fails. threads: that read photos, 0 for one a core.
    """

    val_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0
    not_landmarks: str | None = None
    cache_dir: Path = Path(".cache")
    max_unreadable: float = 0.05
    udacity50_url: str = UDACITY50_URL
    threads: int = 0

    def __post_init__(self) -> None:
        val, test = self.val_fraction, self.test_fraction
        if not (0 < val < 1 and 0 < test < 1 and val + test < 1):
            raise ValueError(
                f"val_fraction {val} and test_fraction {test} must be above 0"
                " and leave some photos for train: their sum must be below 1"
            )
        if not 0 <= self.max_unreadable <= 1:
            raise ValueError(f"max_unreadable {self.max_unreadable} must be a share from 0 to 1")


def dataset_options(config: DataConfig) -> DatasetOptions:
    """The part of a configuration that decides which photos stand on which side."""
    return DatasetOptions(
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
        not_landmarks=config.not_landmarks or None,
        cache_dir=user_path(config.cache_dir),
        max_unreadable=config.max_unreadable,
        udacity50_url=config.udacity50_url,
        threads=config.threads,
    )


def open_dataset(data: str, options: DatasetOptions | None = None) -> Dataset:
    """Open `postcards`, `udacity50` or a folder of class folders.

    Raises ValueError for an unknown name, a layout without two classes, too many unreadable
    photos or a class left without training photos.
    """
    return open_folds(data, options or DatasetOptions(), 1)[0]


def open_folds(data: str, options: DatasetOptions, count: int) -> tuple[Dataset, ...]:
    """The dataset `count` times: test photos the same, train and val dealt anew each time.

    The first is that of `open_dataset`. Raises ValueError as it does, and for more than one fold
    of data with a folder val/, which leaves nothing to deal.
    """
    name, root = find_root(data, options.cache_dir, options.udacity50_url)
    not_landmarks = user_path(options.not_landmarks).resolve() if options.not_landmarks else None
    listing = list_folder(root, not_landmarks)
    fractions = _fractions(listing, options)
    if count > 1 and not fractions.val:
        raise ValueError(f"folds is {count} and {root} brings its own val/; give folds=1")
    scan = scan_files(listing.files, options.threads)
    _check_unreadable(scan, len(listing.files), options.max_unreadable)
    placed = _place(scan)
    splits = [split_photos(placed, fractions, options.seed)]
    splits += [
        split_again(placed, fractions, options.seed, options.seed + fold)
        for fold in range(1, count)
    ]
    folds = tuple(
        Dataset(
            name=name,
            root=root,
            classes=listing.classes,
            train=split.train,
            val=split.val,
            test=split.test,
            unreadable=scan.unreadable,
            leaked=split.leaked,
            conflicting=split.conflicting,
        )
        for split in splits
    )
    for fold in folds:
        _check_classes(fold)
    _log_summary(folds[0])
    return folds


def _check_unreadable(scan: Scan, total: int, max_share: float) -> None:
    if not scan.unreadable:
        return
    counts = Counter(file.code for file in scan.unreadable)
    first = "; ".join(f"{file.path}: {file.code}, {file.reason}" for file in scan.unreadable[:3])
    found = f"{len(scan.unreadable)} of {total} files are unreadable {dict(counts)}: {first}"
    message = spelled(found)
    if len(scan.unreadable) > max_share * total:
        raise ValueError(
            f"{message}; more than max_unreadable {max_share:.0%}: repair or remove these files,"
            " or raise max_unreadable"
        )
    logger.warning("%s", message)


def _place(scan: Scan) -> list[PlacedPhoto]:
    groups = group_near_duplicates([photo.sha256 for photo in scan.photos], scan.fingerprints)
    alike = len(groups) - len(set(groups.tolist()))
    logger.info("%d of %d photos look the same as another one", alike, len(groups))
    return [
        PlacedPhoto(photo, int(group), side)
        for photo, group, side in zip(scan.photos, groups, scan.sides, strict=True)
    ]


def _fractions(listing: FolderListing, options: DatasetOptions) -> Fractions:
    given = {file.side for file in listing.files}
    return Fractions(
        val=0.0 if "val" in given else options.val_fraction,
        test=0.0 if "test" in given else options.test_fraction,
    )


def _check_classes(dataset: Dataset) -> None:
    untrained = _empty_classes(dataset, "train")
    if untrained:
        raise ValueError(
            f"no training photos are left of {', '.join(untrained)}: every one is unreadable,"
            " conflicting or also in val or test; add photos or remove the class"
        )
    sides: tuple[Side, ...] = ("val", "test")
    for side in sides:
        empty = _empty_classes(dataset, side)
        if empty:
            logger.warning("%d classes have no %s photos: %s", len(empty), side, ", ".join(empty))


def _empty_classes(dataset: Dataset, side: Side) -> list[str]:
    return [name for name, count in dataset.class_counts(side).items() if not count]


def _log_summary(dataset: Dataset) -> None:
    logger.info(
        "%s: %d classes, %d train, %d val, %d test photos",
        dataset.name,
        dataset.num_classes,
        len(dataset.train),
        len(dataset.val),
        len(dataset.test),
    )
    if dataset.leaked:
        logger.warning(
            "%d photos are left out: the same picture stands in a given val or test folder: %s",
            len(dataset.leaked),
            _first_paths(dataset.leaked),
        )
    if dataset.conflicting:
        logger.warning(
            "%d photos are left out: the same file stands under two labels: %s",
            len(dataset.conflicting),
            _first_paths(dataset.conflicting),
        )


def _first_paths(photos: Sequence[Photo]) -> str:
    return ", ".join(str(photo.path) for photo in photos[:3])
