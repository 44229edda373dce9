"""A gallery of a tagged library: pages and thumbnails that need nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import math
import os
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from PIL import ExifTags, Image

from landmark_ml.console import Bar
from landmark_ml.figures.html import render
from landmark_ml.files import whole_file
from landmark_ml.inference.photos import PhotoError, decode_photo, read_capture, read_photo
from landmark_ml.inference.prediction import Prediction, position_of
from landmark_ml.inference.runtime import usable_cpus
from serving.tagging.journal import Database
from serving.tagging.library import Tagged, in_order, printable
from serving.tagging.table import Album, album_of, file_of_out, has_place, is_confident
from serving.world_map import Pin, world_map

if TYPE_CHECKING:
    from serving.tagging.tagger import TagResult

logger = logging.getLogger(__name__)


GALLERY, INDEX, PAGES, THUMBNAILS = "gallery", "index.html", "albums", "thumbs"
PHOTOS_ON_A_PAGE = 120
_MAX_NAME = 60
PAGE_NAME = re.compile(r"(?:unplaced|refused|(?:[a-z0-9]+-)*[0-9a-f]{10})(?:-\d+)?\.html")


class Unfiled(Enum):
    """Photos that belong to no album: of no known place, or without an answer."""

    UNPLACED = "unplaced"
    REFUSED = "refused"


_TITLES = {Unfiled.UNPLACED: "Photos without an album", Unfiled.REFUSED: "Photos without an answer"}
_NOTES = {
    Unfiled.UNPLACED: "No landmark was recognised with enough confidence, and the photos carry no"
    " position of their own.",
    Unfiled.REFUSED: "Each with the reason.",
}
_SOURCES = {
    "exif": "from the photo",
    "landmark": "position of the landmark",
    "city": "middle of the landmarks it may be",
}


def write_gallery(
    photos: Iterable[Tagged], root: Path, result: TagResult, min_confidence: float
) -> Path:
    """Write `gallery/` into the result's folder and return its first page.

    Existing thumbnails are reused, so a killed run goes on where it was. A page stays whole until
    the new one replaces it; the first page is written last, and outdated files go after it.
    """
    folder = result.out / GALLERY
    folder.mkdir(parents=True, exist_ok=True)
    with PhotoIndex() as index:
        answered = Bar(photos, "gallery", result.photos, unit=" photos", smoothing=0.05)
        for photo, thumbnail, taken in with_thumbnails(answered, root, folder / THUMBNAILS):
            section: Album | Unfiled = album_of(photo.answer, min_confidence) or Unfiled.UNPLACED
            if photo.answer["error"] is not None:
                section = Unfiled.REFUSED
            index.add(section, photo, thumbnail, taken, min_confidence)
        pages = _Pages(folder, root, result, min_confidence)
        for entry in index.entries.values():
            pages.write_album(entry, index)
        for kind, count in index.unfiled.items():
            pages.write_photos(kind, index, own=count, title=_TITLES[kind], note=_NOTES[kind])
        pages.write_index(index)
        for file in sorted((folder / PAGES).glob("*.html")):
            if PAGE_NAME.fullmatch(file.name) and file.name not in pages.written:
                file.unlink()
        # Photos in a folder that cannot be opened may come back, and use theirs again.
        if not result.unreadable:
            remove_unused(folder / THUMBNAILS, index.uses)
    return folder / INDEX


class _Pages:
    """Writes pages into the folder of a gallery, and remembers which."""

    def __init__(self, folder: Path, root: Path, result: TagResult, min_confidence: float) -> None:
        self._folder, self._result, self._min_confidence = folder, result, min_confidence
        self._originals = originals_address(root, folder / PAGES)
        self.written: set[str] = set()
        script = resources.files("landmark_ml").joinpath("templates/gallery.js").read_text()
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._shared: dict[str, Any] = {
            "library": printable(Path(root.resolve().name or root)),
            "model": result.model,
            "script": script,
            # Nothing but this very script may run in a page.
            "allowed": f"'sha256-{digest}'",
        }

    def write_album(self, entry: Entry, index: PhotoIndex) -> None:
        """Write the pages of an album: the albums within it on a map, then its photos."""
        self.write_photos(
            entry.album,
            index,
            title=entry.album.names[-1],
            own=entry.own,
            total=entry.photos,
            outer=[(outer.names[-1], page_name(outer)) for outer in reversed(around(entry.album))],
            tiles=[_tile(inner, thumbnails=f"../{THUMBNAILS}") for inner in sorted(entry.within)],
            map=_map([inner for inner in entry.all_within() if inner is not entry]),
            place=", ".join(part for part in (entry.album.city, entry.album.country) if part),
            position=_degrees(entry.position) if entry.album.landmark else "",
            tags=entry.tags,
        )

    def write_photos(
        self, section: Album | Unfiled, index: PhotoIndex, *, own: int, **head: Any
    ) -> None:
        """Write the pages of a section's photos; head: what is above them, for the template."""
        photos = index.photos(section)
        last = max(1, math.ceil(own / PHOTOS_ON_A_PAGE))
        names = [page_name(section, number) for number in range(1, last + 1)]
        for number, name in enumerate(names, 1):
            cards = [
                make_card(*photo, self._originals, self._min_confidence)
                for photo in islice(photos, PHOTOS_ON_A_PAGE)
            ]
            values = {"own": own, "number": number, "names": names, "cards": cards, **head}
            self._write(f"{PAGES}/{name}", "gallery_album.html", **values)
            self.written.add(name)

    def write_index(self, index: PhotoIndex) -> None:
        """Write the first page: countries with their albums, last what is in no country."""
        top = sorted(entry for entry in index.entries.values() if not around(entry.album))
        groups = [
            (entry.album.country, f"{PAGES}/{page_name(entry.album)}", [entry])
            for entry in top
            if entry.album.country
        ]
        if elsewhere := [entry for entry in top if not entry.album.country]:
            groups.append(("Elsewhere", "", elsewhere))
        sections = [
            {
                "name": name,
                "href": href,
                "photos": sum(entry.photos for entry in entries),
                "tiles": [
                    _tile(inner, thumbnails=THUMBNAILS, pages=f"{PAGES}/")
                    for entry in entries
                    for inner in entry.all_within()
                ],
            }
            for name, href, entries in groups
        ]
        self._write(
            INDEX,
            "gallery_index.html",
            photos=self._result.photos,
            map=_map([album for entry in top for album in entry.all_within()], pages=f"{PAGES}/"),
            sections=sections,
            unfiled=[
                (_TITLES[kind], f"{PAGES}/{page_name(kind)}", index.unfiled[kind])
                for kind in Unfiled
                if kind in index.unfiled
            ],
            not_read=sorted(self._result.other_pictures.items()),
        )

    def _write(self, name: str, template: str, **values: Any) -> None:
        page = render(template, **self._shared, **values)
        with file_of_out(self._folder / name, flush=False) as path:
            path.write_text(page, encoding="utf-8")


def _map(entries: Sequence[Entry], *, pages: str = "") -> str:
    """Map of albums whose position is known; empty where that is none. pages: way to the pages."""
    pins = [
        Pin(entry.album.names[-1], *entry.position, f"{pages}{page_name(entry.album)}")
        for entry in sorted(entries, key=lambda entry: -entry.photos)
        if entry.position
    ]
    return world_map(pins, "Map of the albums", narrowest=25) if pins else ""


def _degrees(position: tuple[float, float] | None) -> str:
    return "{:.4f}, {:.4f}".format(*position) if position else ""


def _tile(entry: Entry, *, thumbnails: str, pages: str = "") -> dict[str, Any]:
    """An album as other pages show it. thumbnails, pages: ways to these folders."""
    years = sorted(entry.years)
    return {
        "name": entry.album.names[-1],
        "within": (entry.album.city or "") if entry.album.landmark else "",
        "photos": entry.photos,
        "years": sorted({*years[:1], *years[-1:]}),
        "words": " ".join([*entry.album.names, *years, *sorted(entry.words)]),
        "href": pages + page_name(entry.album),
        "cover": f"{thumbnails}/{entry.cover}" if entry.cover else None,
    }


def make_card(
    photo: Tagged, thumbnail: str | None, taken: str, originals: str, min_confidence: float
) -> dict[str, Any]:
    """A photo on a page, as text still to be escaped; what is not known is empty.

    An answer below `min_confidence` is shown as what the photo may be. taken: when, as text.
    originals: address of the library; addresses are relative to the page.
    """
    answer = photo.answer
    error = answer["error"]
    confident, placed = is_confident(answer, min_confidence), has_place(answer, min_confidence)
    place = [part for part in (answer["city"], answer["country"]) if part and placed]
    if place and answer["location_source"] == "neighbour":
        place.append("as photos of the same time")
    # As finely as the answer says. City and country of a photo with its own position are not those
    # that the model means.
    name = answer["landmark"]
    if answer["level"] and not name:
        area = answer["city"] if answer["level"] == "city" else answer["country"]
        name = (area if answer["location_source"] != "exif" else None) or (
            "One of several landmarks" if confident else "one of several landmarks"
        )
    if error is not None:
        title = error["code"]
    elif photo.vetoed:
        title = f"Not {photo.vetoed}, which is too far away"
    elif name is None:
        title = "No known landmark"
    else:
        title = name if confident else f"Perhaps {name}"
    return {
        "title": title,
        "name": printable(photo.path),
        "original": f"{originals}/{_url(photo.path)}",
        "thumbnail": f"../{THUMBNAILS}/{thumbnail}" if thumbnail else None,
        "confidence": answer["confidence"] if name else None,
        "place": ", ".join(place),
        "tags": tuple(answer["tags"] or ()) if confident else (),
        "position": _degrees(position_of(answer)) if placed else "",
        "taken": taken,
        "source": _SOURCES.get(answer["location_source"] or "", ""),
        "error": error["reason"] if error else "",
    }


def originals_address(root: Path, pages: Path) -> str:
    """Address of the library's folder, as seen from a folder of pages."""
    try:
        return _url(Path(os.path.relpath(root.resolve(), pages.resolve())))
    except ValueError:
        # Another drive of Windows: there is no relative way.
        return root.resolve().as_uri()


def _url(path: Path) -> str:
    """Path in a URL, whatever bytes its names have."""
    return quote(os.fsencode(path.as_posix()), safe="/")


def page_name(section: Album | Unfiled, number: int = 1) -> str:
    """`france-paris-eiffel-tower-1a2b3c4d5e.html`, and `…-2.html` for its second page.

    Readable, the same in every run, and safe on every file system.
    """
    if isinstance(section, Unfiled):
        name = section.value
    else:
        # Two albums may look the same without accents, and some have no ASCII letter at all.
        digest = hashlib.sha256(json.dumps(section).encode()).hexdigest()[:10]
        text = unicodedata.normalize("NFKD", " ".join(section.names))
        words = re.findall(r"[a-z0-9]+", text.encode("ascii", "ignore").decode().lower())
        name = "-".join(filter(None, ["-".join(words)[:_MAX_NAME].strip("-"), digest]))
    return f"{name}.html" if number == 1 else f"{name}-{number}.html"


_TABLES = """
CREATE TABLE photos (
    section INTEGER NOT NULL, path BLOB NOT NULL, thumbnail TEXT, taken TEXT NOT NULL,
    answer TEXT NOT NULL, vetoed TEXT, PRIMARY KEY (section, path)
) WITHOUT ROWID;
CREATE INDEX by_thumbnail ON photos (thumbnail);
"""


@dataclass
class Entry:
    """An album: its own photos, all photos with those of inner albums, its cover's thumbnail.

    position: of its landmark, or of a photo in it, in degrees. tags: of all its own photos; words:
    of any of them.
    """

    album: Album
    own: int = 0
    photos: int = 0
    cover: str | None = None
    within: list[Entry] = field(default_factory=list)
    position: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()
    words: set[str] = field(default_factory=set)
    years: set[str] = field(default_factory=set)
    _cover_confidence: float = -1.0

    def all_within(self) -> list[Entry]:
        """Itself and all inner albums that hold photos of their own, by name."""
        below = [found for entry in sorted(self.within) for found in entry.all_within()]
        return [self, *below] if self.own else below

    def __lt__(self, other: Entry) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[str, tuple[str, ...]]:
        return self.album.names[-1].casefold(), self.album.names


class PhotoIndex(Database):
    """Photos by album, as they are added; memory grows with the albums, not with the photos.

    An album within a city makes the city's album, and that the country's. `unfiled` counts photos
    without an album; `entries` are all albums.
    """

    def __init__(self) -> None:
        super().__init__(None, *_TABLES.split(";"))
        self.unfiled: dict[Unfiled, int] = {}
        self._sections: dict[Album | Unfiled, int] = {}
        self.entries: dict[Album, Entry] = {}
        self._db.execute("BEGIN")

    def add(
        self,
        section: Album | Unfiled,
        photo: Tagged,
        thumbnail: str | None,
        taken: str,
        min_confidence: float,
    ) -> None:
        """Add a photo; the one with the highest confidence is the cover, the first of equals."""
        number = self._sections.setdefault(section, len(self._sections))
        answer = json.dumps(photo.answer, ensure_ascii=False)
        row = (number, os.fsencode(photo.path), thumbnail, taken, answer, photo.vetoed)
        self._db.execute("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?)", row)
        if isinstance(section, Unfiled):
            self.unfiled[section] = self.unfiled.get(section, 0) + 1
            return
        own = self._entry(section)
        own.own += 1
        tags = photo.answer["tags"] or [] if is_confident(photo.answer, min_confidence) else []
        own.tags = tuple(tag for tag in tags if own.own == 1 or tag in own.tags)
        own.words.update(tags)
        found = photo.answer["candidates"] if section.landmark else None
        stands = position_of(found[0]) if found else None
        own.position = own.position or stands or position_of(photo.answer)
        is_landmark, confidence = photo.answer["is_landmark"], photo.answer["confidence"]
        confidence = (confidence or 0.0) if is_landmark else 0.0
        for entry in map(self._entry, (section, *around(section))):
            entry.photos += 1
            entry.years.update([taken[:4]] if taken else [])
            if thumbnail is not None and confidence > entry._cover_confidence:
                entry.cover, entry._cover_confidence = thumbnail, confidence

    def photos(self, section: Album | Unfiled) -> Iterator[tuple[Tagged, str | None, str]]:
        """Photos of a section by time, each with the name of its thumbnail and when it was taken.

        Those without a time come last, by path.
        """
        query = (
            "SELECT path, thumbnail, taken, answer, vetoed FROM photos WHERE section = ?"
            " ORDER BY taken = '', taken, path"
        )
        found = self._db.execute(query, [self._sections.get(section)])
        for path, thumbnail, taken, answer, vetoed in found:
            said = cast("Prediction", json.loads(answer))
            yield Tagged(Path(os.fsdecode(path)), said, vetoed=vetoed), thumbnail, taken

    def uses(self, thumbnail: str) -> bool:
        """Whether a photo has this thumbnail."""
        query = "SELECT EXISTS (SELECT 1 FROM photos WHERE thumbnail = ?)"
        return bool(self._db.execute(query, [thumbnail]).fetchone()[0])

    def _entry(self, album: Album) -> Entry:
        if album not in self.entries:
            self.entries[album] = Entry(album)
            for outer in around(album)[:1]:
                self._entry(outer).within.append(self.entries[album])
        return self.entries[album]


def around(album: Album) -> list[Album]:
    """The albums around one, the nearest first: its city, its country."""
    wider = [Album(album.country, album.city, None), Album(album.country, None, None)]
    return [outer for outer in dict.fromkeys(wider) if outer != album and outer.names]


MAX_SIDE = 320
"""Longest side of a thumbnail in pixels."""

_QUALITY = 80
# Camera makers' wide colours fit; a printer's profile is larger than the picture.
_MAX_PROFILE_BYTES = 4096
_NAME = re.compile(r"[0-9a-f]{20}\.jpg")


def with_thumbnails(
    photos: Iterable[Tagged], root: Path, folder: Path
) -> Iterator[tuple[Tagged, str | None, str]]:
    """Yield photos in their order, each with its thumbnail's name and when it was taken.

    The name is None for a photo without an answer, and for one that is gone or unreadable now. The
    time is text such as `2019-06-01 10:11`, empty where the photo does not say. A photo that was
    changed since it was answered is shown as it is now.
    """

    def with_own(photo: Tagged) -> tuple[Tagged, str | None, str]:
        if photo.answer["error"] is not None:
            return photo, None, ""
        try:
            name = find_or_make_thumbnail(photo.path, root, folder)
            captured = read_capture(folder / name)
        except (PhotoError, OSError) as error:
            logger.warning("%s gets no thumbnail: %s", root / photo.path, error)
            return photo, None, ""
        return photo, name, f"{captured[1]:%Y-%m-%d %H:%M}" if captured else ""

    return in_order(with_own, photos, usable_cpus(), name="thumb")


def find_or_make_thumbnail(path: Path, root: Path, folder: Path) -> str:
    """Name of a photo's thumbnail within a folder, where it is made once for all who show it.

    path: of the photo within the library. Raises PhotoError or OSError for a photo that cannot be
    read.
    """
    state = (root / path).stat()
    # Another name when the photo is changed.
    identity = f"\0{state.st_size}\0{state.st_mtime_ns}\0{MAX_SIDE} dated".encode()
    digest = hashlib.sha256(os.fsencode(path) + identity).hexdigest()[:20]
    name = f"{digest[:2]}/{digest}.jpg"
    target = folder / name
    # A power cut may leave an empty file.
    if not (target.is_file() and target.stat().st_size):
        # A scratch name of its own: threads, the tagger and the review page may make the same one.
        scratch_name = f".{target.name}.{uuid.uuid4().hex}.tmp"
        with whole_file(target, scratch_name, flush=False) as scratch:
            scratch.write_bytes(thumbnail(root / path))
    return name


def thumbnail(photo: Path, side: int = MAX_SIDE) -> bytes:
    """JPEG of a photo, upright, at most `side` pixels wide and high; its EXIF: when, not where.

    Raises PhotoError or OSError for a photo that cannot be read.
    """
    data = read_photo(photo)
    picture, exif = decode_photo(data, min_side=side * 9 // 16, name=photo.name), Image.Exif()
    if captured := read_capture(data):
        time = f"{captured[1]:%Y:%m:%d %H:%M:%S}"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
    profile = picture.info.get("icc_profile", b"")
    kept = profile[16:20] == b"RGB " and len(profile) <= _MAX_PROFILE_BYTES
    picture.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=_QUALITY, icc_profile=profile if kept else None, exif=exif)
    return jpeg.getvalue()


def remove_unused(folder: Path, is_used: Callable[[str], bool]) -> None:
    """Remove thumbnails that are not used, and what a killed run left half-written."""
    for subfolder in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        for file in sorted(subfolder.iterdir()):
            name = file.name.removeprefix(".").split(".jpg")[0] + ".jpg"
            if _NAME.fullmatch(name) and not is_used(f"{subfolder.name}/{file.name}"):
                file.unlink()
