"""The pages of a gallery: one or more for each album, one that shows all albums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_ml.figures.html import render
from landmark_ml.files import whole_file
from serving.tagging.gallery.cards import THUMBNAILS, Originals, card
from serving.tagging.gallery.catalogue import around
from serving.tagging.gallery.page_names import page_name
from serving.tagging.gallery.shelf import Apart
from serving.tagging.table import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.tagging.albums import Album
    from serving.tagging.gallery.catalogue import Catalogue, Entry
    from serving.tagging.gallery.shelf import Shelf, Shelved
    from serving.tagging.tagger import TagResult

INDEX, PAGES = "index.html", "albums"
PHOTOS_ON_A_PAGE = 120
_TITLES = {Apart.UNPLACED: "Photos without an album", Apart.REFUSED: "Photos that were not read"}
_NOTES = {
    Apart.UNPLACED: "They show no landmark surely enough, and carry no position of their own.",
    Apart.REFUSED: "Each with the reason.",
}


@dataclass(frozen=True)
class Tile:
    """An album as other pages show it."""

    name: str
    within: str
    photos: int
    href: str
    cover: str | None


@dataclass(frozen=True)
class Section:
    """Albums of one country on the first page; no href: of no country."""

    name: str
    href: str
    anchor: str
    photos: int
    tiles: list[Tile]


@dataclass(frozen=True)
class Head:
    """What stands above the photos of an album.

    outer: names and pages of the albums around it; own, total: photos without and with those of the
    albums within it, of which tiles are shown.
    """

    title: str
    note: str
    own: int
    total: int
    outer: list[tuple[str, str]]
    tiles: list[Tile]


class Pages:
    """Writes pages into the folder of a gallery, and remembers which."""

    def __init__(self, folder: Path, root: Path, model: str, min_confidence: float) -> None:
        self._folder, self._model = folder, model
        self._library = printable(Path(root.resolve().name or root))
        self._originals = Originals(root, folder / PAGES)
        self._min_confidence = min_confidence
        self.written: set[str] = set()

    def write_album(self, entry: Entry, shelf: Shelf) -> None:
        """Write the pages of an album: the albums within it, then its photos."""
        head = Head(
            title=entry.album.names[-1],
            note="",
            own=entry.own,
            total=entry.photos,
            outer=[(outer.names[-1], page_name(outer)) for outer in reversed(around(entry.album))],
            tiles=[_tile(inner, up="../", home="") for inner in entry.within],
        )
        self._write_all(entry.album, head, shelf.photos(entry.album))

    def write_apart(self, apart: Apart, shelf: Shelf, count: int) -> None:
        """Write the pages of photos that are in no album."""
        head = Head(_TITLES[apart], _NOTES[apart], count, count, [], [])
        self._write_all(apart, head, shelf.photos(apart))

    def write_index(self, catalogue: Catalogue, result: TagResult) -> None:
        """Write the page of all albums."""
        top = catalogue.top()
        self._write(
            INDEX,
            "gallery_index.html",
            photos=result.photos,
            placed=sum(entry.photos for entry in top),
            albums=sum(len(entry.all_within()) for entry in top),
            sections=_sections(top),
            apart=[
                (_TITLES[kind], f"{PAGES}/{page_name(kind)}", catalogue.apart[kind])
                for kind in Apart
                if catalogue.apart[kind]
            ],
            not_read=sorted(result.other_pictures.items()),
        )

    def _write_all(self, section: Album | Apart, head: Head, photos: Iterator[Shelved]) -> None:
        last = max(1, math.ceil(head.own / PHOTOS_ON_A_PAGE))
        names = [page_name(section, number) for number in range(1, last + 1)]
        for number, name in enumerate(names, 1):
            cards = [
                card(photo, self._originals, self._min_confidence)
                for photo in islice(photos, PHOTOS_ON_A_PAGE)
            ]
            values = {"head": head, "number": number, "names": names, "cards": cards}
            self._write(f"{PAGES}/{name}", "gallery_album.html", **values)
            self.written.add(name)

    def _write(self, name: str, template: str, **values: Any) -> None:
        page = render(template, library=self._library, model=self._model, **values)
        with whole_file(self._folder / name, flush=False) as path:
            path.write_text(page, encoding="utf-8")


def _tile(entry: Entry, *, up: str, home: str) -> Tile:
    """up: way to the gallery's folder; home: way to the folder of pages."""
    return Tile(
        name=entry.album.names[-1],
        within=(entry.album.city or "") if entry.album.landmark else "",
        photos=entry.photos,
        href=home + page_name(entry.album),
        cover=f"{up}{THUMBNAILS}/{entry.cover}" if entry.cover else None,
    )


def _sections(top: list[Entry]) -> list[Section]:
    """Countries, each with the albums in it that hold photos; last what is in none."""
    countries = [entry for entry in top if entry.album.country]
    homeless = [entry for entry in top if not entry.album.country]
    sections = [
        Section(
            entry.album.names[-1],
            f"{PAGES}/{page_name(entry.album)}",
            f"country-{number}",
            entry.photos,
            [_tile(inner, up="", home=f"{PAGES}/") for inner in entry.all_within()],
        )
        for number, entry in enumerate(countries, 1)
    ]
    tiles = [
        _tile(inner, up="", home=f"{PAGES}/") for entry in homeless for inner in entry.all_within()
    ]
    if homeless:
        photos = sum(entry.photos for entry in homeless)
        sections.append(Section("Elsewhere", "", "elsewhere", photos, tiles))
    return sections
