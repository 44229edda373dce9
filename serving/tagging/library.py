"""A library of photos: find them, read and recognise them, and tell where they were taken."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from landmark_ml.config import user_path
from landmark_ml.console import listed
from landmark_ml.files import is_of_the_system
from landmark_ml.geo.gazetteer import Gazetteer, Place, parse_gazetteer
from landmark_ml.geo.names import names_in
from landmark_ml.geo.reverse_geocode import Towns
from landmark_ml.inference.photos import DEFAULT_LIMITS, PhotoError, read_at_most, read_capture
from landmark_ml.inference.prediction import Prediction, position_of, refused
from landmark_ml.inference.predictor import Predictor
from landmark_ml.inference.runtime import usable_cpus

logger = logging.getLogger(__name__)


_READ = (
    "jpg jpeg jpe jfif png apng webp avif gif tif tiff bmp heic heif hif"
    " arw cr2 cr3 dng gpr nef nrw orf pef raf rw2 rwl sr2 srw"
)
_NOT_READ = (
    "3fr arq bay crw dc2 dcr dcs drf eip erf fff iiq k25 kc2 kdc mef mos mrw ori pxn raw rwz srf"
    " sti x3f j2k jp2 jpf jpx jxl psb psd svg"
)
PHOTO_SUFFIXES = frozenset(f".{name}" for name in _READ.split())
OTHER_PICTURES = frozenset(f".{name}" for name in _NOT_READ.split())
"""Picture formats that we cannot read; they are counted, so that the user hears of them."""

MAX_READ_BYTES = DEFAULT_LIMITS.max_bytes + 1
"""Bytes read of a photo: one more than allowed is enough for the decoder to refuse it. The preview
of a larger raw file is looked for in these."""

_MAX_MTIME_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A photo file: path within the library, size in bytes, time of last change."""

    path: Path
    size: int
    mtime_ns: int


def printable(path: Path) -> str:
    """Path as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Neighbour(NamedTuple):
    """The located photo that another one got its place from, and how many minutes lie between."""

    path: Path
    minutes: float


class Tagged(NamedTuple):
    """A photo by its path within the library, and its answer.

    sha256: of its file; empty where that cannot be read. correction: the decision of a person that
    the answer follows; None: it is the model's. taken, camera: when, by the camera's clock, and
    which, if its EXIF says so; the journal does not keep the camera. same_as: the photo of the same
    moment whose answer it has. neighbour, vetoed: the photo that it got its place from, and the
    landmark that it does not show; see `Neighbours`.
    """

    path: Path
    answer: Prediction
    sha256: str = ""
    correction: str | None = None
    taken: datetime | None = None
    camera: str = ""
    same_as: str | None = None
    neighbour: Neighbour | None = None
    vetoed: str | None = None

    @property
    def burst(self) -> str:
        """The photo whose answer all of its moment have: itself, if it has no other's."""
        return self.same_as or printable(self.path)


@dataclass
class Library:
    """A folder of photos. Hidden files and the folders in `skip` are left out.

    only: name of the one file of the folder that is looked at. suffixes: what is looked for.
    While walking, `other_pictures` counts suffixes that we cannot read, and `unreadable` records
    why a folder or link could not be opened, by its path within the library.

    Raises ValueError when the root is not a folder, or is itself in `skip`.
    """

    root: Path
    skip: frozenset[Path] = frozenset()
    only: str | None = None
    suffixes: frozenset[str] = PHOTO_SUFFIXES
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise ValueError(f"photos={self.root} is not a folder; name the folder of your photos")
        if self.root.resolve() in self.skip:
            raise ValueError(
                f"photos={self.root} is also the folder to write to, where no photos are looked"
                f" for; give out a folder of its own, such as {self.root / 'tags'}"
            )

    def walk(self) -> Iterator[Found]:
        """Yield photos: a folder's own before those of its subfolders, both in order of name.

        Links to folders are followed, but no folder is walked twice. Pipes and devices are left
        out.
        """
        walked: set[tuple[int, int]] = set()
        waiting = [self.root]
        while waiting:
            entries = self._open(waiting.pop(), walked)
            subfolders = [Path(entry) for entry in entries if self._is_folder(entry)]
            waiting.extend(reversed(subfolders))
            for entry in entries:
                if found := self._photo(entry):
                    yield found

    def read(self, path: Path) -> bytes | OSError:
        """Read a photo by its path within the library; an error is returned, not raised."""
        try:
            return read_at_most(self.root / path)
        except OSError as error:
            return error
        except PhotoError as error:
            return OSError(str(error))

    def _open(self, folder: Path, walked: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """Visible entries by name; none when the folder was walked before."""
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in walked or folder.resolve() in self.skip:
                return []
            walked.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                visible = [
                    entry
                    for entry in entries
                    if not is_of_the_system(entry.name) and self.only in (None, entry.name)
                ]
        except OSError as error:
            self._note(folder, error)
            return []
        return sorted(visible, key=lambda entry: entry.name)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            if entry.is_symlink():
                # `is_dir` hides a dangling link, and its disk may just not be mounted.
                entry.stat()
            return entry.is_dir()
        except OSError as error:
            self._note(Path(entry), error)
            return False

    def _photo(self, entry: os.DirEntry[str]) -> Found | None:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - once for every file
        if suffix in OTHER_PICTURES:
            self.other_pictures[suffix] += 1
        if suffix not in self.suffixes:
            return None
        try:
            if not entry.is_file():
                return None
            state = entry.stat()
        except OSError as error:
            self._note(Path(entry), error)
            return None
        # A damaged time stamp may lie centuries away, beyond what SQLite can store.
        changed = max(-_MAX_MTIME_NS, min(state.st_mtime_ns, _MAX_MTIME_NS))
        return Found(Path(entry).relative_to(self.root), state.st_size, changed)

    def _note(self, path: Path, error: OSError) -> None:
        within = path.relative_to(self.root)
        if within not in self.unreadable:
            logger.warning("%s cannot be opened and is left out: %s", path, error)
            self.unreadable[within] = error.strerror or str(error)


def no_photos(
    other_pictures: Mapping[str, int], unreadable: Mapping[Path, str], known: str = ""
) -> str:
    """What a library without photos holds instead, and what to do; see `Library`.

    known: what to remove if photos that it held before are gone for good; empty: it held none.
    """
    if known:
        return (
            "holds no photos, but did before; if its disk is not mounted, mount it and start again."
            f" If they are gone for good, remove {known}"
        )
    if unreadable:
        folders = [f"{folder}: {reason}" for folder, reason in unreadable.items()]
        return f"gave no photos, because folders could not be opened: {listed(folders)}"
    others = listed([f"{count:,} *{suffix}" for suffix, count in sorted(other_pictures.items())])
    if others:
        return f"holds no photos that can be read, but {others}; export those as JPEG"
    return "holds no photos; name the folder of your photos"


CANNOT_BE_READ = "cannot_be_read"
"""Error code of a photo whose file the system does not give; all others are the decoder's."""

CHUNK = 4
TOP_K = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


def recognise(
    predictor: Predictor,
    read: Callable[[Path], bytes | OSError],
    photos: Iterable[Path],
    threshold: float | None = None,
    threads: int = 0,
) -> Iterator[list[Tagged]]:
    """Yield answers in the order of the photos, a few at a time.

    read: reads a photo by its path within the library, and returns an error instead of raising it.
    threads: threads that read files; 0 means one more than there are cores, so that files are read
    while others are decoded and recognised. Each thread holds at most `CHUNK` photos in memory.
    """

    def answer(paths: list[Path]) -> list[Tagged]:
        contents = [read(path) for path in paths]
        given = [content for content in contents if isinstance(content, bytes)]
        answers = iter(predictor.predict(given, top_k=TOP_K, threshold=threshold))
        found = []
        for path, content in zip(paths, contents, strict=True):
            if isinstance(content, OSError):
                reason = content.strerror or str(content)
                found.append(Tagged(path, refused(CANNOT_BE_READ, reason)))
            else:
                sha256 = hashlib.sha256(content).hexdigest()
                camera, taken = read_capture(content) or ("", None)
                found.append(Tagged(path, next(answers), sha256, taken=taken, camera=camera))
        return found

    remaining = iter(photos)
    chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
    return in_order(answer, chunks, threads or usable_cpus() + 1, name="tag")


def may_change(error_code: str | None) -> bool:
    """Whether the same photo may be answered next time: a disk recovers, a decoder is installed."""
    return error_code in (CANNOT_BE_READ, "unsupported")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, *, name: str
) -> Iterator[Result]:
    """Yield results of `work` in the order of the items, computed by several threads.

    At most `threads` + 1 items are taken ahead of the result that is waited for. Closing the
    iterator ends the threads; an error of `work` is raised where its result would be.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_places(places: str) -> list[Place]:
    """Places of a CSV such as `places.csv`, then the built-in ones; none when no file is named.

    The CSV's own come first, because the first place that names a country counts.
    """
    if not places:
        return []
    own = user_path(places)
    return [*parse_gazetteer(own.read_bytes(), str(own)).values(), *Gazetteer.load().places()]


class PhotoLocations:
    """Sets city and country by a photo's own position, because a landmark is seen from far away.

    Within a kilometre of a known place that place decides: `places` first, then the model's own;
    elsewhere the towns, whose data is read when the first photo needs it. Countries and cities get
    the names that the model uses in its answers, so that no album has two names; then those of
    `places` and of the built-in gazetteer. Last, they are translated. `country_codes` are those of
    all countries met. Raises ValueError for an unknown language.
    """

    def __init__(
        self, predictor: Predictor, places: Iterable[Place] = (), language: str = "en"
    ) -> None:
        self._names = names_in(language)
        # A place of coordinates alone says less than the towns do.
        models = [Place(**place) for place in predictor.metadata.places if place]
        given = [place for place in places if place.country]
        self._known = given + [place for place in models if place.country]
        self._named = [*models, *given, *Gazetteer.load().places()]
        self.country_codes = {
            known.country: known.country_code
            for known in self._named
            if known.country and known.country_code
        }

    @functools.cached_property
    def _towns(self) -> Towns:
        return Towns(self._known, self._named)

    def apply(self, answers: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield answers, with city and country of the photo's own position where it has one."""
        codes = self.country_codes
        for photo in answers:
            answer, position = photo.answer, position_of(photo.answer)
            if position and answer["location_source"] == "exif":
                found = self._towns.find(*position)
                if found.country and found.country_code:
                    codes.setdefault(found.country, found.country_code)
                answer = {**answer, "city": found.city, "country": found.country}
            translated = self._names.translate(answer, codes)
            if (code := codes.get(answer["country"] or "")) and translated["country"]:
                codes.setdefault(translated["country"], code)
            yield photo._replace(answer=translated)
