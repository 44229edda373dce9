"""Tag a photo library: recognise what is new in it, then write all that was asked for."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from landmark_ml.config import TagConfig, user_path
from landmark_ml.console import Bar, counted
from landmark_ml.corrections import CORRECTIONS, read_corrections
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.tracking import run as tracking
from serving.champion import Loaded, find_version, load_version
from serving.tagging.bursts import answer_once
from serving.tagging.corrected import Corrected, decisions_on
from serving.tagging.gallery import write_gallery
from serving.tagging.immich import FOLDER, IMMICH_CSV, Immich, refuse_what_needs_files
from serving.tagging.journal import Journal
from serving.tagging.library import (
    Library,
    PhotoLocations,
    Tagged,
    may_change,
    no_photos,
    read_places,
    recognise,
)
from serving.tagging.neighbours import Neighbours
from serving.tagging.sidecars import SIDECARS_CSV, build_tags, list_changes, write_sidecars
from serving.tagging.table import (
    ALBUMS,
    CSV,
    PARQUET,
    RunCounts,
    hold,
    refuse_foreign_files,
    table_row,
    write_albums,
    write_tables,
)

JOURNAL = "journal.sqlite"
_VERSION = 5
"""Version of what is recorded of a photo: raise it to have all photos recognised again."""


@dataclass(kw_only=True)
class TagResult(RunCounts):
    """What a library holds and what was done about it.

    expected: what the model tags, see `inference.predictor.what_to_expect`. written: number of
    sidecars, or of photos in Immich, by action, or in a dry run what it would be; refusals: number
    of those refused by folder and reason; listed: the table of them; gallery: its first page.
    corrected: photos whose answer is a person's. by_neighbours, vetoed: photos placed by
    `Neighbours`, and those whose landmark they ruled out.
    """

    out: Path
    expected: dict[str, float]
    written: Counter[str] = field(default_factory=Counter)
    listed: str = SIDECARS_CSV
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    dry_run: bool = False
    in_albums: int = 0
    gallery: Path | None = None
    corrected: int = 0
    by_neighbours: int = 0
    vetoed: int = 0

    def count(self, row: Mapping[str, Any]) -> None:
        """Count what one row says."""
        super().count(row)
        self.corrected += row["correction"] is not None
        self.by_neighbours += row["neighbour"] is not None
        self.vetoed += row["vetoed"] is not None

    @property
    def unit(self) -> str:
        """What `written` counts."""
        return "sidecar" if self.listed == SIDECARS_CSV else "photo"

    def failure(self) -> str:
        """What was asked for and could not be done, and what to do; empty when all was."""
        if (failure := super().failure()) or not self.refusals:
            return failure
        return (
            f"{counted(self.refusals.total(), self.unit)} could not be written, for the reasons"
            " above; fix those and tag again: only what is missing is written"
        )

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        done = {} if self.dry_run else self.written
        return {
            **super().metrics(),
            "tag/by_neighbours": self.by_neighbours,
            "tag/vetoed": self.vetoed,
            **{f"tag/{Path(self.listed).stem}_{action}": count for action, count in done.items()},
            "tag/photos_per_second": self.recognised / self.seconds if self.seconds else 0.0,
        }


def run_tagging(
    config: TagConfig, show: Callable[[TagResult], object] = lambda _: None
) -> TagResult:
    """Tag a library, record the counts in an MLflow run, and show them.

    The run holds the parameters, folders included, but no photo's name or position. Raises
    ValueError when the folder or the model is not there, another process tags to `out`, or links
    are asked for and `out/albums` holds other files; once all is shown, also when no photo could be
    read or a sidecar was refused.
    """
    if config.immich:
        refuse_what_needs_files(config)
    elif not config.photos:
        raise ValueError("photos is empty; name the folder of your photos: photos=<folder>")
    # What is no library has a folder of its own, because `out` may hold the table of one.
    out, photos, only = user_path(config.out), user_path(config.photos), None
    if config.immich:
        out = out / FOLDER
    elif photos.is_file():
        out, photos, only = out / photos.name, photos.parent, photos.name
    config = replace(config, out=str(out))
    folder = None if config.immich else Library(photos, frozenset([out.resolve()]), only)
    if config.albums == "links" and not config.dry_run:
        # Better now than after hours of recognition.
        refuse_foreign_files(out / ALBUMS)
    with contextlib.ExitStack() as held:
        held.enter_context(hold(out))
        library = folder or held.enter_context(Immich(config, out))
        run = held.enter_context(tracking.start_run(config, "tag", {"kind": "tag"}))
        result = tag_library(library, load_version(find_version(config.model)), config)
        result.record(run, f"the table ({PARQUET}, {CSV}) stays on the machine that made it")
        show(result)
        if failure := result.failure():
            raise ValueError(failure)
    return result


def tag_library(library: Library | Immich, loaded: Loaded, config: TagConfig) -> TagResult:
    """Recognise the photos that have no answer yet, then write table, sidecars, albums, gallery.

    A photo is recognised again when its file changed, or when another model version or threshold is
    asked for. Raises ValueError when the library is empty, or when `out` holds
    the table of another library.
    """
    out = user_path(config.out)
    expected = loaded.predictor.metadata.expected
    result = TagResult(model=loaded.label, out=out, expected=expected, dry_run=config.dry_run)
    threshold = None if config.threshold == -1 else config.threshold
    # The run too: two registries may both have a `landmarks/3`.
    asked = f"{_VERSION} {loaded.label} {loaded.run_id} {threshold}"
    # Before hours of recognition: places, language or corrections may be wrong.
    locations = PhotoLocations(loaded.predictor, read_places(config.places), config.language)
    beside = out / CORRECTIONS
    corrections = read_corrections(*filter(Path.is_file, [beside]), named=config.corrections)
    gazetteer = Gazetteer.load(user_path(config.places) if config.places else None)
    with Journal(out / JOURNAL) as journal:
        server = library if isinstance(library, Immich) else None
        journal.bind(library.root)
        found = journal.scan(Bar(library.walk(), desc="looking", unit=" photos"))
        # On a server it is no mistake: each photo has its place.
        if not found and not server:
            gone = "" if journal.is_new else str(out / JOURNAL)
            reason = no_photos(library.other_pictures, library.unreadable, gone)
            raise ValueError(f"photos={library.root} {reason}")
        result.photos = found + journal.keep(library.unreadable, asked)
        result.other_pictures, result.unreadable = library.other_pictures, library.unreadable
        waiting = journal.count_waiting(asked)
        new = recognise(loaded.predictor, library.read, journal.waiting(asked), threshold)
        started = time.perf_counter()
        with Bar(total=waiting, desc="recognising", unit=" photos", smoothing=0.05) as bar:
            for photo in answer_once(itertools.chain.from_iterable(new), library.read):
                error = photo.answer["error"]
                # A preview may be made anew, while the photo stays the same.
                ask_again = error and (server or may_change(error["code"]))
                journal.record(photo, None if ask_again else asked)
                result.recognised += 1
                bar.update()
        result.seconds = time.perf_counter() - started if waiting else 0.0

        find_decision = decisions_on(journal.answers(), corrections)
        corrected = Corrected(loaded.predictor.metadata, find_decision, gazetteer)
        # A preview tells no time, so there are no neighbours; a photo's own position rules out too.
        neighbours = Neighbours((), 0.0) if server else None
        if config.neighbours:
            photos = Bar(journal.answers(), desc="placing", unit=" photos")
            placed = locations.apply(corrected.apply(photos))
            neighbours = Neighbours(placed, config.neighbours)

        # Each output goes through the answers once more, so that no list of them is in memory.
        def answers() -> Iterator[Tagged]:
            known = server.place(journal.answers()) if server else journal.answers()
            located = locations.apply(corrected.apply(known))
            return neighbours.apply(located) if neighbours else located

        write_tables(result.counted(table_row(photo, result.model) for photo in answers()), out)
        say = partial(
            build_tags,
            model=result.model,
            country_codes=locations.country_codes,
            root=config.tag_root,
            min_confidence=config.min_confidence,
        )
        if server:
            result.listed, changes = IMMICH_CSV, server.write(answers(), say)
            result.written, result.refusals = list_changes(out / IMMICH_CSV, ["photo"], changes)
            return result
        if config.sidecars != "none":
            changes = write_sidecars(answers(), library.root, config, say)
            columns = ["photo", "sidecar"]
            result.written, result.refusals = list_changes(out / SIDECARS_CSV, columns, changes)
        if config.albums != "none":
            result.in_albums = write_albums(
                answers(),
                library.root,
                out,
                min_confidence=config.min_confidence,
                links=config.albums == "links" and not config.dry_run,
            )
        if config.gallery:
            result.gallery = write_gallery(answers(), library.root, result, config.min_confidence)
    return result
