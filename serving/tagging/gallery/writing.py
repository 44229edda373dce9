"""Write the gallery of a library: thumbnails first, then pages, then away with what is outdated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from serving.tagging.albums import Album, album_of
from serving.tagging.gallery.cards import THUMBNAILS
from serving.tagging.gallery.catalogue import Catalogue
from serving.tagging.gallery.page_names import is_page
from serving.tagging.gallery.pages import INDEX, PAGES, Pages
from serving.tagging.gallery.shelf import Apart, Shelf
from serving.tagging.gallery.thumbnails import remove_others, with_thumbnails

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from serving.tagging.journal import Tagged
    from serving.tagging.tagger import TagResult

GALLERY = "gallery"
_SCRATCH = ".shelf.sqlite"


def write_gallery(
    photos: Iterable[Tagged], root: Path, result: TagResult, min_confidence: float
) -> Path:
    """Write `gallery/` into the result's folder and return its first page.

    Thumbnails that are there already are used again, so that a killed run goes on where it was. A
    page that is there stays whole until the new one takes its place; the first page is written
    last, and what is outdated goes after it.
    """
    folder, catalogue = result.out / GALLERY, Catalogue()
    folder.mkdir(parents=True, exist_ok=True)
    thumbnails = folder / THUMBNAILS
    with Shelf(folder / _SCRATCH) as shelf:
        answered = tqdm(photos, "gallery", result.photos, unit=" photos", delay=1, smoothing=0.05)
        for photo, thumbnail in with_thumbnails(answered, root, thumbnails):
            section = _section(photo, min_confidence)
            shelf.put(section, photo, thumbnail)
            catalogue.add(section, _sureness(photo), thumbnail)
        pages = Pages(folder, root, result.model, min_confidence)
        for entry in catalogue.entries():
            pages.write_album(entry, shelf)
        for section, count in catalogue.apart.items():
            pages.write_apart(section, shelf, count)
        pages.write_index(catalogue, result)
        _remove_outdated(folder / PAGES, pages.written)
        # Those of photos that cannot be looked for are used again when they can.
        if not result.unreadable:
            remove_others(thumbnails, shelf.uses)
    return folder / INDEX


def _section(photo: Tagged, min_confidence: float) -> Album | Apart:
    if photo.answer["error"] is not None:
        return Apart.REFUSED
    return album_of(photo.answer, min_confidence) or Apart.UNPLACED


def _sureness(photo: Tagged) -> float:
    return (photo.answer["confidence"] or 0.0) if photo.answer["is_landmark"] else 0.0


def _remove_outdated(folder: Path, written: set[str]) -> None:
    for file in sorted(folder.glob("*.html")):
        if is_page(file.name) and file.name not in written:
            file.unlink()
