"""Names of the gallery's pages."""

from __future__ import annotations

from serving.tagging.albums import Album
from serving.tagging.gallery.index import Unfiled
from serving.tagging.gallery.pages import is_page, page_name


def test_pages_of_albums_are_told_apart() -> None:
    albums = [
        Album("France", "Paris", None),
        Album("France", None, "Paris"),
        Album("Paris", "France", None),
        Album("Frânce", "Pâris", None),
        Album("日本", None, None),
        Album("中国", None, None),
        Album("x" * 300, "y" * 300, "../../etc"),
    ]
    names = [page_name(album, number) for album in albums for number in (1, 2)]
    assert len(set(names)) == len(names)
    for name in [*names, page_name(Unfiled.UNPLACED), page_name(Unfiled.REFUSED, 12)]:
        assert is_page(name), name
        assert name.isascii()
        assert len(name) < 100
        assert "/" not in name
    for name in ("mine.html", "index.html", "notes-2.html", "france-1a2b.html"):
        assert not is_page(name)
