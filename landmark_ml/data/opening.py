"""Open a dataset by name, folder or table: read and group its photos, assign splits."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from landmark_ml.config import DataConfig, user_path
from landmark_ml.console import counted, listed
from landmark_ml.corrections import read_corrections
from landmark_ml.data import postcards
from landmark_ml.data.corrected import correct_labels
from landmark_ml.data.dataset import NOT_A_LANDMARK, SPLITS, Dataset
from landmark_ml.data.download import fetch_archive
from landmark_ml.data.folders import (
    ListedFile,
    Listing,
    list_distractors,
    list_folder,
    list_taught,
)
from landmark_ml.data.near_duplicates import read_and_group
from landmark_ml.data.places import place_landmarks
from landmark_ml.data.splits import Fractions, split_photos
from landmark_ml.data.tables import GLDV2_CATEGORIES, list_gldv2, list_table
from landmark_ml.files import make_cache, spelled

logger = logging.getLogger(__name__)


def open_dataset(config: DataConfig) -> Dataset:
    """Open `postcards`, `udacity50`, a folder or a table of photos, whichever `config.data` names.

    Raises ValueError for an unknown name, a layout without two classes, too many unreadable
    photos or a class left without training photos.
    """
    name, root = find_root(config)
    listing = _list_files(config, root)
    if corrections := read_corrections(named=config.corrections):
        gazetteer = place_landmarks(root, listing[0], (), config.places, quiet=True)
        cache = user_path(config.cache_dir)
        listing = correct_labels(listing, corrections, gazetteer, cache, config.threads)
    classes, files = _choose_landmarks(listing, root, config)
    given = {file.given for file in files}
    fractions = Fractions(
        val=0.0 if "val" in given else config.val_fraction,
        test=0.0 if "test" in given else config.test_fraction,
    )
    photos, unreadable = read_and_group(
        files, user_path(config.cache_dir), config.threads, config.grouping
    )
    if unreadable:
        codes = dict(Counter(file.code for file in unreadable))
        named = listed(
            [f"{bad.path}: {bad.code}, {bad.reason}" for bad in unreadable], between="; "
        )
        message = spelled(
            f"{len(unreadable)} of {len(files):,} files are unreadable {codes}: {named}"
        )
        if len(unreadable) > config.max_unreadable * len(files):
            raise ValueError(
                f"{message}; more than max_unreadable {config.max_unreadable:.0%}: repair or remove"
                " these files, or raise max_unreadable"
            )
        logger.warning("%s", message)
    splits = split_photos(photos, fractions, config.seed)
    dataset = Dataset(name, root, classes, unreadable=tuple(unreadable), **splits._asdict())
    for split in SPLITS:
        empty = [name for name, number in dataset.class_counts(split).items() if not number]
        if empty and split == "train":
            raise ValueError(
                f"no training photos are left of {listed(empty)}: every one is unreadable,"
                " conflicting or also in val or test; add photos, remove the class or raise"
                " min_photos"
            )
        if empty:
            message = "no %s photos, so trained and not measured: %s"
            logger.warning(message, split, listed(empty))
    counts = ", ".join(f"{len(dataset.split(split)):,} {split}" for split in SPLITS)
    logger.info("%s: %s, %s photos", name, counted(len(classes), "landmark"), counts)
    for left_out, reason in (
        (dataset.leaked, "the same picture is in a given val or test folder"),
        (dataset.conflicting, "the same file has two labels"),
    ):
        if left_out:
            paths = spelled(listed([os.path.relpath(photo.path, root) for photo in left_out]))
            logger.warning("%s left out, %s: %s", counted(len(left_out), "photo"), reason, paths)
    return dataset


def _list_files(config: DataConfig, root: Path) -> Listing:
    """Classes and files of a dataset, photos of no landmark too."""
    if (table := user_path(config.data)).is_file():
        classes, files = list_table(table, user_path(config.cache_dir))
    elif (root / GLDV2_CATEGORIES).is_file():
        classes, files = list_gldv2(root)
    else:
        classes, files = list_folder(root)
    for folder in filter(None, config.taught.split(",")):
        names, more = list_taught(user_path(folder.strip()).resolve())
        classes = tuple(dict.fromkeys([*classes, *names]))
        files += [replace(file, label=classes.index(names[file.label])) for file in more]
    given = config.not_landmarks and user_path(config.not_landmarks).resolve()
    # A table may list a photo twice, or what `not_landmarks/` beside it holds.
    once: dict[tuple[Path, int], ListedFile] = {}
    for file in [*files, *list_distractors(root, given or None)]:
        once.setdefault((file.path, file.label), file)
    return classes, list(once.values())


def chosen_part(config: DataConfig) -> str:
    """What a config changes of its data, such as `min_photos 5`; empty when it takes all as is."""
    names = ("taught", "corrections", "min_photos", "max_landmarks", "country")
    given = [name for name in names if getattr(config, name) != getattr(DataConfig, name)]
    return ", ".join(f"{name} {getattr(config, name)!r}" for name in given)


def _choose_landmarks(listing: Listing, root: Path, config: DataConfig) -> Listing:
    """The landmarks of `country` with `min_photos`, at most `max_landmarks`, and their files."""
    classes, files = listing
    counts = Counter(file.label for file in files)
    chosen = [label for label in range(len(classes)) if counts[label] >= config.min_photos]
    if config.country:
        gazetteer = place_landmarks(root, classes, files, config.places, quiet=True)
        places = [(label, gazetteer.find(classes[label])) for label in chosen]
        wanted = config.country.casefold()
        chosen = [
            label
            for label, place in places
            if place and wanted in (f"{place.country}".casefold(), f"{place.country_code}".lower())
        ]
    if config.max_landmarks:
        most = sorted(chosen, key=lambda label: (-counts[label], label))
        chosen = sorted(most[: config.max_landmarks])
    if len(chosen) < 2:
        part = f" with {part}" if (part := chosen_part(config)) else ""
        raise ValueError(
            f"{root} has {counted(len(chosen), 'landmark')}{part} and at least 2 are needed; it"
            f" holds {len(classes):,}"
        )
    if len(chosen) < len(classes):
        logger.info("%s of %s chosen", f"{len(chosen):,}", counted(len(classes), "landmark"))
    labels = {label: number for number, label in enumerate(chosen)}
    labels[NOT_A_LANDMARK] = NOT_A_LANDMARK
    kept = [replace(file, label=labels[file.label]) for file in files if file.label in labels]
    return tuple(classes[label] for label in chosen), kept


def find_root(config: DataConfig) -> tuple[str, Path]:
    """Name and absolute folder of a dataset; drawn or downloaded into `cache_dir` when missing.

    The root of a table is the folder it lies in. Raises ValueError when data is neither a known
    name nor a folder or table, or the download fails.
    """
    data, cache_dir = config.data, user_path(config.cache_dir).resolve()
    if data == "postcards":
        # The folder is named by a hash of the drawing code and its sheets: changed, it draws anew.
        drawing = Path(postcards.__file__).parent
        code = sorted([*drawing.glob("*.py"), *drawing.glob("sheets/*.webp")])
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:8]
        return data, postcards.write_postcards(cache_dir / f"postcards-{digest}")
    if data == "udacity50":
        url = config.udacity50_url
        folder = cache_dir / f"udacity50-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
        make_cache(cache_dir)
        # One process fetches for all.
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                fetch_archive(url, folder)
        if not (root := folder / "landmark_images").is_dir():
            raise ValueError(
                f"the archive of {url} holds no {root.name}; check udacity50_url and remove"
                f" {folder}"
            )
        return data, root
    root = user_path(data).resolve()
    if data and root.is_dir():
        return root.name, root
    if root.suffix.casefold() in (".csv", ".parquet") and root.is_file():
        return root.stem, root.parent
    what = "is a file of another kind" if root.is_file() else "does not exist"
    raise ValueError(
        f"data {data!r} is not a known dataset and {root} {what}; give 'postcards' (drawn here),"
        " 'udacity50' (downloaded), a folder with train/<class>/… or <class>/…, or a table of"
        " photos, .csv or .parquet"
    )
