"""Tag a photo library: recognise what is new in it and write the table of all of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.tracking import run as tracking
from serving.tagging.album_links import refuse_foreign
from serving.tagging.albums import ALBUMS, write_albums
from serving.tagging.gallery import write_gallery
from serving.tagging.journal import Journal
from serving.tagging.loaded_version import load_version
from serving.tagging.recognition import may_change, recognise
from serving.tagging.result import TagResult
from serving.tagging.sidecar_pass import write_sidecars
from serving.tagging.table import CSV, PARQUET, table_row, write_tables
from serving.tagging.walk import Library
from serving.tagging.whereabouts import OwnPlaces, read_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from landmark_ml.config import TagConfig
    from landmark_ml.tracking.run import Run
    from serving.tagging.journal import Tagged
    from serving.tagging.loaded_version import LoadedVersion

JOURNAL = "journal.sqlite"


def run_tagging(config: TagConfig) -> TagResult:
    """Tag a library and record the counts in an MLflow run.

    Recorded are the parameters too, the folders among them, and no photo's name or position.
    Raises ValueError when the folder or the model is not there, another process tags to `out`, or
    `out` holds what is not the tagger's where links are to be made.
    """
    if not config.photos:
        raise ValueError("photos is empty; name the folder of your photos: --photos=<folder>")
    out = user_path(config.out)
    library = Library(user_path(config.photos), skip=frozenset([out.resolve()]))
    if _makes_links(config):
        # Said before the photos are recognised, which may take hours.
        refuse_foreign(out / ALBUMS)
    with _alone(out), tracking.start_run(config, "tag", {"kind": "tag"}) as run:
        loaded = load_version(config.model)
        result = tag_library(library, loaded, config)
        _log(run, result)
        result.location = run.location
        return result


def tag_library(library: Library, loaded: LoadedVersion, config: TagConfig) -> TagResult:
    """Recognise the photos that have no answer yet, and write the table of all.

    A photo is recognised again when it was changed, or when another model version or threshold is
    asked for. Raises ValueError when no photo is there where some were before, or `out` holds the
    table of another library.
    """
    out = user_path(config.out)
    result = TagResult(out=out, model=loaded.version, dry_run=config.dry_run)
    with Journal(result.out / JOURNAL) as journal:
        journal.bind(library.root.resolve())
        asked = f"{loaded.identity} {_threshold(config)}"
        _look(library, journal, asked, result)
        _recognise_new(library, loaded, config, journal, asked, result)
        own = OwnPlaces(loaded.predictor, read_places(config.places))
        rows = (table_row(photo, result.model) for photo in own.lay_over(journal.answers()))
        write_tables(result.counted(rows), result.out)
        _write_asked_for(lambda: own.lay_over(journal.answers()), own, library, config, result)
    return result


def _look(library: Library, journal: Journal, asked: str, result: TagResult) -> None:
    """Meet the photos that are there now; those that cannot be looked for count as there."""
    result.photos = journal.meet(tqdm(library.walk(), desc="looking", unit=" photos", delay=1))
    result.other_pictures, result.unreadable = library.other_pictures, library.unreadable
    if not result.photos and not journal.is_new:
        raise ValueError(
            f"photos={library.root} holds no photos, where some were before; its disk may not be"
            " mounted, then mount it and start again. If they are gone for good, remove"
            f" {result.out / JOURNAL}"
        )
    result.photos += journal.keep(library.unreadable, asked)


def _write_asked_for(
    answers: Callable[[], Iterator[Tagged]],
    own: OwnPlaces,
    library: Library,
    config: TagConfig,
    result: TagResult,
) -> None:
    """Write what was asked for beside the table; each goes through the answers once more."""
    if config.sidecars != "none":
        result.sidecars = write_sidecars(
            answers(),
            library.root,
            config,
            model=result.model,
            country_codes=own.country_codes,
        )
    if config.albums != "none":
        result.in_albums = write_albums(
            answers(),
            library.root,
            result.out,
            min_confidence=config.min_confidence,
            links=_makes_links(config),
        )
    if config.gallery:
        result.gallery = write_gallery(answers(), library.root, result, config.min_confidence)


def _makes_links(config: TagConfig) -> bool:
    return config.albums == "links" and not config.dry_run


def _threshold(config: TagConfig) -> float | None:
    return None if config.threshold == -1 else config.threshold


def _recognise_new(
    library: Library,
    loaded: LoadedVersion,
    config: TagConfig,
    journal: Journal,
    asked: str,
    result: TagResult,
) -> None:
    waiting = journal.count_waiting(asked)
    started = time.perf_counter()
    with tqdm(total=waiting, desc="recognising", unit="photos", smoothing=0.05, delay=1) as bar:
        photos = journal.waiting(asked)
        for some in recognise(loaded.predictor, library.read, photos, _threshold(config)):
            journal.record([photo for photo in some if not _is_open(photo)], asked)
            journal.record([photo for photo in some if _is_open(photo)], None)
            result.recognised += len(some)
            bar.update(len(some))
    result.seconds = time.perf_counter() - started if waiting else 0.0


def _is_open(photo: Tagged) -> bool:
    error = photo.answer["error"]
    return error is not None and may_change(error["code"])


def _log(run: Run, result: TagResult) -> None:
    run.log_metrics(result.metrics())
    run.set_tags({"model": result.model})
    run.log_text(result.landmarks_csv(), "landmarks.csv")
    run.describe(
        f"{result.summary()}; the table ({PARQUET}, {CSV}) stays on the machine that made it."
    )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second tagger away from the journal and the tables while this one writes them."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(f"out={out}: another tagger writes there; wait or give another") from None
