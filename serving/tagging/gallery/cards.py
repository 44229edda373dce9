"""What a page shows of one photo: texts and addresses, all of them still to be escaped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from serving.tagging.albums import has_place, is_confident
from serving.tagging.table import printable

if TYPE_CHECKING:
    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.gallery.shelf import Shelved

THUMBNAILS = "thumbs"
_SOURCES = {
    "exif": "as the photo says",
    "landmark": "where the landmark stands",
    "city": "middle of the landmarks it may be",
}


@dataclass(frozen=True)
class Card:
    """A photo on a page; what is not known is empty.

    original, thumbnail: addresses relative to the page; confidence: of the title, 0 to 1; position:
    `48.8584, 2.2945`, with its geo: address and where it is from.
    """

    title: str
    name: str
    original: str
    thumbnail: str | None
    confidence: float | None
    place: str
    tags: tuple[str, ...]
    position: str
    geo: str
    source: str
    error: str


class Originals:
    """Addresses of a library's photos, as seen from a folder of pages."""

    def __init__(self, root: Path, pages: Path) -> None:
        try:
            way = Path(os.path.relpath(root.resolve(), pages.resolve()))
            self._root = _address(way)
        except ValueError:
            # Another drive of Windows: there is no way but from the top.
            self._root = root.resolve().as_uri()

    def address(self, path: Path) -> str:
        """Address of a photo by its path within the library."""
        return f"{self._root}/{_address(path)}"


def card(shelved: Shelved, originals: Originals, min_confidence: float) -> Card:
    """Card of a photo, for a page beside the folder of thumbnails.

    Of an answer below `min_confidence` it tells what it may be, and nothing as if it were so.
    """
    path, answer = shelved.photo
    error, latitude, longitude = answer["error"], answer["latitude"], answer["longitude"]
    sure, placed = is_confident(answer, min_confidence), has_place(answer, min_confidence)
    known = placed and latitude is not None and longitude is not None
    at = (f"{latitude:.4f}", f"{longitude:.4f}") if known else ()
    place = [part for part in (answer["city"], answer["country"]) if part and placed]
    title, is_of_the_answer = _title(answer, sure=sure)
    return Card(
        title=title,
        name=printable(path),
        original=originals.address(path),
        thumbnail=f"../{THUMBNAILS}/{shelved.thumbnail}" if shelved.thumbnail else None,
        confidence=answer["confidence"] if is_of_the_answer else None,
        place=", ".join(place),
        tags=tuple(answer["tags"] or ()) if sure else (),
        position=", ".join(at),
        geo=f"geo:{','.join(at)}",
        source=_SOURCES.get(answer["location_source"] or "", ""),
        error=error["reason"] if error else "",
    )


def _title(answer: Prediction, *, sure: bool) -> tuple[str, bool]:
    """What a photo shows, or why it is refused; whether the answer's confidence is that of it."""
    if answer["error"] is not None:
        return answer["error"]["code"], False
    name = answer["landmark"]
    # City and country of a photo that carries its own are not those that the model means.
    if name is None and answer["level"] and answer["location_source"] != "exif":
        name = answer["city"] if answer["level"] == "city" else answer["country"]
    if not name and answer["level"]:
        name = "One of several landmarks" if sure else "one of several landmarks"
    if not name:
        return "No known landmark", False
    return (name if sure else f"Perhaps {name}"), True


def _address(path: Path) -> str:
    """Path in a URL, whatever bytes its names are of."""
    return quote(os.fsencode(path.as_posix()), safe="/")
