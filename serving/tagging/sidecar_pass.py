"""The sidecars of a whole library, and the list of what was done with each."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.files import whole_file
from serving.tagging.merging import say
from serving.tagging.sidecars import update_sidecar
from serving.tagging.table import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from landmark_ml.config import TagConfig
    from serving.tagging.journal import Tagged
    from serving.tagging.sidecars import SidecarChange

SIDECARS_CSV = "sidecars.csv"


def write_sidecars(
    answers: Iterable[Tagged],
    root: Path,
    config: TagConfig,
    *,
    model: str,
    country_codes: Mapping[str, str],
) -> Counter[str]:
    """Update the sidecar of every photo, list in `sidecars.csv` what was done, and count it.

    That of a photo that was refused is left as it is.
    """
    done: Counter[str] = Counter()
    out = user_path(config.out)
    with (
        whole_file(out / SIDECARS_CSV) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(["photo", "sidecar", "action", "detail"])
        for photo in tqdm(answers, desc="sidecars", unit=" photos", delay=1):
            change = _update(photo, root, config, model, country_codes)
            if change is None:
                continue
            done[change.action] += 1
            if change.action != "kept":
                names = (printable(photo.path), printable(change.sidecar.relative_to(root)))
                lines.writerow([*names, change.action, change.detail])
    return done


def _update(
    photo: Tagged, root: Path, config: TagConfig, model: str, country_codes: Mapping[str, str]
) -> SidecarChange | None:
    if photo.answer["error"] is not None:
        # It may be a disk's failure of today, and says nothing about what the photo shows.
        return None
    saying = say(
        photo.answer,
        model,
        country_codes=country_codes,
        root=config.tag_root,
        min_confidence=config.min_confidence,
    )
    return update_sidecar(root / photo.path, saying, config.sidecars, dry_run=config.dry_run)
