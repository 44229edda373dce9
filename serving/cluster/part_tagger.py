"""One part of the photos: what is known of it is kept, what is missing recognised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from serving.cluster.addresses import open_folder
from serving.cluster.parts import PartStore
from serving.cluster.stored_photos import open_photos
from serving.tagging import Counts, PhotoLocations, may_change, printable, recognise, table_row

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.geo.place import Place
    from landmark_ml.inference.predictor import Predictor
    from serving.cluster.parts import Part
    from serving.tagging import Found


@dataclass(frozen=True)
class Job:
    """What all workers are told: where photos and table are, who answers and how it is asked.

    asked: identifies the question; rows that answer another one are made again. unreadable: folders
    of the photos that could not be opened, as rows spell them.
    """

    photos: str
    out: str
    version: str
    asked: str
    threshold: float | None
    places: tuple[Place, ...]
    cpus: int
    reads: int
    unreadable: frozenset[str] = frozenset()

    def cannot_see(self, path: str) -> bool:
        """Whether a photo, as its row spells it, lies where nothing could be opened."""
        return not self.unreadable.isdisjoint({path, *map(str, PurePath(path).parents)})


class PartTagger:
    """Tags parts with one predictor; safe to run beside others on other parts."""

    def __init__(self, job: Job, predictor: Predictor) -> None:
        self._job = job
        self._predictor = predictor
        self._photos = open_photos(job.photos, job.out)
        self._store = PartStore(open_folder(job.out))
        self._own = PhotoLocations(predictor, job.places)

    def tag(self, part: Part) -> Counts:
        """Bring the file of a part up to date, and count what it holds.

        A row stays while size and time of change of its photo do, and is asked for again when the
        photo could not be read. So does one whose photo cannot be looked for. Raises OSError when
        the table cannot be written.
        """
        before = {row["path"]: row for row in self._store.read(part.index, self._job.asked)}
        known = ((photo, before.get(printable(photo.path))) for photo in part.photos)
        kept = {photo.path: row for photo, row in known if row and _may_stay(row, photo)}
        new = self._recognise([photo for photo in part.photos if photo.path not in kept])
        rows = [kept.get(photo.path) or new[photo.path] for photo in part.photos]
        rows = self._with_unseen(rows, before)
        if rows and (new or len(rows) < len(before)):
            self._store.write(part.index, rows, self._job.asked)
        elif not rows and (before or not self._job.unreadable):
            # Without `before` it is not known whose rows they are, which answer another question.
            self._store.remove(part.index)
        counts = Counts(photos=len(rows), recognised=len(new))
        for row in rows:
            counts.count(row)
        return counts

    def _with_unseen(
        self, rows: list[dict[str, Any]], before: dict[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Rows, and those that were there of photos that cannot be looked for, by path."""
        unseen = {path: row for path, row in before.items() if self._job.cannot_see(path)}
        for row in rows:
            unseen.pop(row["path"], None)
        if not unseen:
            return rows
        return sorted([*rows, *unseen.values()], key=lambda row: row["path"].encode())

    def _recognise(self, photos: list[Found]) -> dict[Path, dict[str, Any]]:
        answers = recognise(
            self._predictor,
            self._photos.read,
            (photo.path for photo in photos),
            self._job.threshold,
            threads=max(self._job.reads, self._job.cpus + 1),
        )
        own = self._own.apply(photo for some in answers for photo in some)
        return {
            photo.path: table_row(answered, self._job.version)
            | {"size": photo.size, "mtime_ns": photo.mtime_ns}
            for photo, answered in zip(photos, own, strict=True)
        }


def _may_stay(row: dict[str, Any], photo: Found) -> bool:
    same = (row["size"], row["mtime_ns"]) == (photo.size, photo.mtime_ns)
    return same and not may_change(row["error_code"])
