"""The albums of a gallery as a tree, with how many photos each holds and which one stands for it.

Grows with the albums, not with the photos.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from serving.tagging.albums import Album
from serving.tagging.gallery.shelf import Apart


@dataclass
class Entry:
    """An album: its own photos, those of the albums within it too, and its cover's thumbnail."""

    album: Album
    own: int = 0
    photos: int = 0
    cover: str | None = None
    within: list[Entry] = field(default_factory=list)
    _sureness: float = -1.0

    def take(self, sureness: float, thumbnail: str | None) -> None:
        """Count a photo; the surest one stands for the album, the first of equals."""
        self.photos += 1
        if thumbnail is not None and sureness > self._sureness:
            self.cover, self._sureness = thumbnail, sureness

    def all_within(self) -> list[Entry]:
        """Itself and all within it, as far as they hold photos of their own, by their names."""
        below = [found for entry in self.within for found in entry.all_within()]
        return [self, *below] if self.own else below


class Catalogue:
    """Albums as photos are put into them; an album within a city makes the city's, and so on.

    apart: photos that belong to no album.
    """

    def __init__(self) -> None:
        self.apart: Counter[Apart] = Counter()
        self._entries: dict[Album, Entry] = {}
        self._top: list[Entry] = []

    def add(self, section: Album | Apart, sureness: float, thumbnail: str | None) -> None:
        """Count a photo in its album and those around it; the surest one stands for each."""
        if isinstance(section, Apart):
            self.apart[section] += 1
            return
        self._entry(section).own += 1
        for album in (section, *around(section)):
            self._entry(album).take(sureness, thumbnail)

    def top(self) -> list[Entry]:
        """Albums that are in no other: countries, and what has none."""
        return _sorted(self._top)

    def entries(self) -> list[Entry]:
        """All albums, those within an album after it."""
        waiting, found = self.top()[::-1], []
        while waiting:
            entry = waiting.pop()
            entry.within = _sorted(entry.within)
            found.append(entry)
            waiting.extend(entry.within[::-1])
        return found

    def _entry(self, album: Album) -> Entry:
        if album not in self._entries:
            self._entries[album] = entry = Entry(album)
            outer = around(album)
            siblings = self._entry(outer[0]).within if outer else self._top
            siblings.append(entry)
        return self._entries[album]


def around(album: Album) -> list[Album]:
    """The albums around one, the nearest first: its city, its country."""
    wider = [Album(album.country, album.city, None), Album(album.country, None, None)]
    return [
        outer
        for index, outer in enumerate(wider)
        if outer != album and outer.names and outer not in wider[:index]
    ]


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.album.names[-1].casefold(), entry.album.names))
