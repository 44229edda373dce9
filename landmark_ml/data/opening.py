"""Open a dataset by name or folder: photos read, deduplicated across sides and split."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from landmark_ml.config import user_path
from landmark_ml.data.dataset import Dataset, Side
from landmark_ml.data.folders import list_folder
from landmark_ml.data.near_duplicates import group_near_duplicates
from landmark_ml.data.scanning import Scan, scan_files
from landmark_ml.data.sources import find_root
from landmark_ml.data.splits import Fractions, PlacedPhoto, split_again, split_photos
from landmark_ml.files import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.config import DataConfig
    from landmark_ml.data.dataset import Photo
    from landmark_ml.data.folders import FolderListing

logger = logging.getLogger(__name__)


def open_dataset(config: DataConfig) -> Dataset:
    """Open `postcards`, `udacity50` or a folder of class folders, whichever `config.data` names.

    Raises ValueError for an unknown name, a layout without two classes, too many unreadable
    photos or a class left without training photos.
    """
    return open_folds(config, 1)[0]


def open_folds(config: DataConfig, count: int) -> tuple[Dataset, ...]:
    """The dataset `count` times: test photos the same, train and val dealt anew each time.

    The first is that of `open_dataset`. Raises ValueError as it does, and for more than one fold
    of data with a folder val/, which leaves nothing to deal.
    """
    name, root = find_root(config)
    not_landmarks = user_path(config.not_landmarks).resolve() if config.not_landmarks else None
    listing = list_folder(root, not_landmarks)
    fractions = _fractions(listing, config)
    if count > 1 and not fractions.val:
        raise ValueError(f"folds is {count} and {root} brings its own val/; give folds=1")
    scan = scan_files(listing.files, config.threads)
    _check_unreadable(scan, len(listing.files), config.max_unreadable)
    placed = _place(scan)
    splits = [split_photos(placed, fractions, config.seed)]
    splits += [
        split_again(placed, fractions, config.seed, config.seed + fold) for fold in range(1, count)
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


def _fractions(listing: FolderListing, config: DataConfig) -> Fractions:
    given = {file.side for file in listing.files}
    return Fractions(
        val=0.0 if "val" in given else config.val_fraction,
        test=0.0 if "test" in given else config.test_fraction,
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
