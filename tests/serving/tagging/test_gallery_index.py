"""The tree of albums: counts, covers, order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landmark_ml.inference.prediction import refused
from serving.tagging.albums import Album
from serving.tagging.gallery.index import PhotoIndex, Unfiled, around
from serving.tagging.journal import Tagged

TOWER = Album("France", "Paris", "Eiffel Tower")
CASTLE = Album("France", None, "Château d'If")
PARIS, FRANCE = Album("France", "Paris", None), Album("France", None, None)
NOWHERE = Album(None, None, "Nowhere")


def test_an_album_is_in_its_city_and_its_country() -> None:
    assert around(TOWER) == [PARIS, FRANCE]
    assert around(CASTLE) == [FRANCE]
    assert around(PARIS) == [FRANCE]
    assert around(FRANCE) == around(NOWHERE) == []
    assert around(Album(None, "Atlantis", "Temple")) == [Album(None, "Atlantis", None)]


def test_photos_count_in_all_albums_around_theirs(tmp_path: Path) -> None:
    with PhotoIndex(tmp_path / "index.sqlite") as index:
        for number, (album, confidence, thumbnail) in enumerate(
            [
                (TOWER, 0.8, "a"),
                (TOWER, 0.9, "b"),
                (PARIS, 0.7, "c"),
                (CASTLE, 0.95, None),
                (NOWHERE, 0.6, "d"),
            ]
        ):
            found: Any = {"is_landmark": True, "confidence": confidence}
            index.add(album, Tagged(Path(f"{number}.jpg"), found), thumbnail)
        index.add(Unfiled.REFUSED, Tagged(Path("cut.jpg"), refused("truncated", "cut")), None)
        assert index.unfiled == {Unfiled.REFUSED: 1}
        entries = {entry.album: entry for entry in index.entries()}
        assert {album: (entry.own, entry.photos) for album, entry in entries.items()} == {
            FRANCE: (0, 4),
            CASTLE: (1, 1),
            PARIS: (1, 3),
            TOWER: (2, 2),
            NOWHERE: (1, 1),
        }
        assert [entries[album].cover for album in (FRANCE, PARIS, CASTLE)] == ["b", "b", None]
        assert [entry.album for entry in index.top()] == [FRANCE, NOWHERE]
        assert [entry.album for entry in entries[FRANCE].all_within()] == [CASTLE, PARIS, TOWER]
