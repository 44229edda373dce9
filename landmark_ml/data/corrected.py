"""What people say of photos counts, and not their folders: labels by the hash of each photo."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from landmark_ml.console import counted, listed
from landmark_ml.corrections import LANDMARK, REJECTED, Correction
from landmark_ml.data.dataset import NOT_A_LANDMARK, Photo
from landmark_ml.data.folders import ListedFile, Listing
from landmark_ml.data.scanning import read_photos
from landmark_ml.geo.gazetteer import Gazetteer, spelling_key

logger = logging.getLogger(__name__)


def correct_labels(
    listing: Listing,
    corrections: Mapping[str, Correction],
    gazetteer: Gazetteer,
    cache: Path,
    threads: int = 0,
) -> Listing:
    """Give the files of a dataset the labels that people gave their photos, and add other photos.

    A photo that shows no landmark becomes a distractor. One whose label was rejected is left out. A
    photo that the dataset lacks is added from where it lay when somebody decided, unless it is gone
    or changed. A landmark may be spelled as its class, or in any way that the gazetteer knows.
    """
    classes, files = list(listing[0]), listing[1]
    spelled = {spelling_key(name): label for label, name in enumerate(classes)}
    places = [gazetteer.find(name) for name in classes]

    def label_of(name: str) -> int | None:
        known, place = spelled.get(spelling_key(name)), gazetteer.find(name)
        return places.index(place) if known is None and place in places and place else known

    labels: dict[str, int] = {}
    for sha256, row in corrections.items():
        labels[sha256] = NOT_A_LANDMARK
        if row.decision == LANDMARK:
            label = label_of(row.right)
            if label is None:
                label = spelled[spelling_key(row.right)] = len(classes)
                classes.append(row.right)
                places.append(gazetteer.find(row.right))
            labels[sha256] = label
    named = [row for row in corrections.values() if row.path and row.decision != REJECTED]
    here = [row for row in named if Path(row.path).is_file()]
    added = [ListedFile(Path(row.path), labels[row.sha256], None) for row in here]
    results = read_photos([*files, *added], cache, threads)
    seen: set[str] = set()
    kept, relabelled, rejected = list[ListedFile](), 0, 0
    for file, photo in zip(files, results, strict=False):
        correction = corrections.get(photo.sha256) if isinstance(photo, Photo) else None
        if correction is None:
            kept.append(file)
            continue
        seen.add(correction.sha256)
        if correction.decision != REJECTED:
            relabelled += file.label != labels[correction.sha256]
            kept.append(replace(file, label=labels[correction.sha256]))
        elif file.label == label_of(correction.said):
            rejected += 1
        else:
            kept.append(file)
    for row, file, photo in zip(here, added, results[len(files) :], strict=True):
        if row.sha256 not in seen and isinstance(photo, Photo) and photo.sha256 == row.sha256:
            seen.add(row.sha256)
            kept.append(file)
    logger.info(
        "corrections: %s with another label, %s added, %s left out because its label was rejected",
        counted(relabelled, "photo"),
        f"{len(kept) + rejected - len(files):,}",
        f"{rejected:,}",
    )
    if gone := [row.path for row in named if row.sha256 not in seen]:
        message = "corrections: %s not in the data, and gone or changed since: %s"
        logger.warning(message, counted(len(gone), "photo"), listed(gone))
    return tuple(classes), kept


def list_new_landmarks(
    corrections: Mapping[str, Correction], known: Collection[str], most: int
) -> tuple[list[str], list[ListedFile]]:
    """Landmarks that people named and a model does not know, and the photos of each.

    corrections: in order of time. known: the names of those it knows, in any spelling that the
    gazetteer has. most: photos of a landmark, the newest decisions of more. Raises ValueError where
    there are none.
    """
    gazetteer = Gazetteer.load()

    def key(name: str) -> str:
        place = gazetteer.find(name)
        return spelling_key(place.name if place else name)

    keys = set(map(key, known))
    found: dict[str, list[Correction]] = defaultdict(list)
    for row in corrections.values():
        named = key(row.right)
        if row.decision == LANDMARK and named not in keys and Path(row.path).is_file():
            found[named].append(row)
    if not found:
        raise ValueError(
            "the corrections name no landmark that the model does not know, or its photos are gone;"
            " give photos, a folder of folders named after landmarks"
        )
    files = [
        ListedFile(Path(row.path), label, None)
        for label, rows in enumerate(found.values())
        for row in rows[-most:]
    ]
    return [rows[-1].right for rows in found.values()], files
