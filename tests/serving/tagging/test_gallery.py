"""The gallery: every photo on one page, foreign text stays text, and nothing is made twice."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from PIL import ExifTags, Image

from landmark_ml.config import TagConfig
from landmark_ml.inference.prediction import Area, answer, refused
from serving.champion import Loaded
from serving.tagging import gallery as galleries
from serving.tagging.gallery import (
    PAGE_NAME,
    PhotoIndex,
    Unfiled,
    around,
    make_card,
    page_name,
)
from serving.tagging.library import Library, Tagged
from serving.tagging.table import Album
from serving.tagging.tagger import tag_library
from serving.world_map import Pin, world_map
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo, gps_exif
from tests.serving.tagging.areas import CITY
from tests.serving.tagging.areas import TOWER as TOWER_ANSWER
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.gallery_pages import Read, gallery, read_gallery, thumbs

NO_PHOTOS = 7


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> TagConfig:
    return TagConfig(photos=str(photos), out=str(tmp_path / "out"), gallery=True)


def originals(page: Read, library: Path) -> list[Path]:
    """Photos of the library that a page leads to."""
    found = [page.leads_to(address) for address in page.addresses("href")]
    return [path for path in found if path.is_relative_to(library.resolve())]


def test_every_photo_stands_on_one_page(config: TagConfig, photos: Path, run: Run) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files_of(photos)}
    result = run(config)
    assert result.gallery == gallery(config) / "index.html"
    found = read_gallery(gallery(config))
    shown = Counter(path for page in found for path in originals(page, photos))
    assert len(shown) == result.photos == NO_PHOTOS
    assert set(shown.values()) == {1}
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files_of(photos)
    }


def files_of(photos: Path) -> list[Path]:
    return sorted(path for path in photos.rglob("*") if path.is_file())


def test_every_address_leads_to_a_file(config: TagConfig, run: Run) -> None:
    run(config)
    found = read_gallery(gallery(config))
    reached = {
        page.leads_to(address) for page in found for address in page.addresses("href", "src")
    }
    assert not [path for path in reached if not path.is_file()]
    assert {page.path for page in found} <= reached | {gallery(config) / "index.html"}
    assert set(thumbs(config)) <= reached


def test_albums_are_by_country_city_and_landmark(config: TagConfig, photos: Path, run: Run) -> None:
    run(config)
    tower = Read(gallery(config) / "albums" / page_name(Album("France", "Paris", "Eiffel Tower")))
    # One of the two was taken at 12 N 34 E, and the landmark still has one album.
    assert sorted(path.name for path in originals(tower, photos)) == [
        "tower with gps.JPG",
        "tower.jpg",
    ]
    for text in ("Eiffel Tower", "Paris, France", "tower", "paris", "48.8584, 2.2945"):
        assert text in tower.text
    assert any(text.endswith("%") for text in tower.text)
    france = Read(gallery(config) / "albums" / page_name(Album("France", None, None)))
    assert {"Paris", "Château d'If"} <= set(france.text)
    assert len([tag for tag, _ in france.elements if tag == "circle"]) == 2
    assert originals(france, photos) == []
    index = Read(gallery(config) / "index.html")
    assert {"France", "Elsewhere", "Nowhere"} <= set(index.text)


def test_what_all_photos_share_stands_once_above_them(config: TagConfig, run: Run) -> None:
    run(config)
    tower = Read(gallery(config) / "albums" / page_name(Album("France", "Paris", "Eiffel Tower")))
    for text in ("Paris, France", "48.8584, 2.2945", "tower", "paris"):
        assert tower.text.count(text) == 1, text
    # What another photo says differently stands with it.
    assert "12.0000, 34.0000" in tower.text
    assert any(text.endswith("Sudan") for text in tower.text)


def test_photos_stand_by_the_time_they_were_taken(
    config: TagConfig, photos: Path, run: Run
) -> None:
    for name, taken in [("a.jpg", "2021:05:01 09:30:00"), ("z.jpg", "2019:07:14 10:11:12")]:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        (photos / name).write_bytes(colour_photo(RED, exif=exif.tobytes()))
    for _ in range(2):  # the second time from the thumbnails
        run(config)
        page = gallery(config) / "albums" / page_name(Album("France", "Paris", "Eiffel Tower"))
        tower = Read(page)
        assert [path.name for path in originals(tower, photos)][:2] == ["z.jpg", "a.jpg"]
        assert {"2019-07-14 10:11", "2021-05-01 09:30"} <= set(tower.text)
        index = Read(gallery(config) / "index.html")
        assert "2019\N{EN DASH}2021" in index.text
    words = [given["data-words"] or "" for _, given in index.elements if "data-words" in given]
    assert [text for text in words if text.startswith("France Paris Eiffel Tower 2019 2021 paris")]


def test_what_is_unsure_or_unread_stands_apart(config: TagConfig, photos: Path, run: Run) -> None:
    run(replace(config, min_confidence=1.0))
    unplaced = Read(gallery(config) / "albums" / page_name(Unfiled.UNPLACED))
    assert {"Perhaps Eiffel Tower", "No known landmark"} <= set(unplaced.text)
    assert "Paris, France" not in unplaced.text
    assert "48.8584, 2.2945" not in unplaced.text
    refused = Read(gallery(config) / "albums" / page_name(Unfiled.REFUSED))
    assert {"truncated", "empty"} <= set(refused.text)
    assert any("upload or copy it again" in text for text in refused.text)
    assert {path.name for path in originals(refused, photos)} == {"cut.jpg", "empty.png"}


HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    '"><script>alert(1)<!--.jpg',
    "'onclick='alert(1).jpg",
    "javascript:alert(1).jpg",
    "&lt;b&gt; {{ 7 * 7 }} {% raw %}.jpg",
    "100% #1?x=y;z.jpg",
    "line\nbreak\ttab.jpg",
    "\u202egpj.exe.jpg",
    " \\ back.jpg",
]


def test_a_landmark_that_was_ruled_out_is_named(config: TagConfig, run: Run) -> None:
    # One photo of the tower says that it was taken in Sudan.
    run(replace(config, neighbours=30.0))
    shown = [text for page in read_gallery(gallery(config)) for text in page.text]
    assert shown.count("Not Eiffel Tower, which is too far away") == 1


@pytest.mark.skipif(os.name != "posix", reason="such names cannot be given here")
def test_hostile_names_are_text_and_lead_to_their_photos(
    config: TagConfig, photos: Path, run: Run
) -> None:
    names = [*HOSTILE, os.fsdecode(b"odd\xff.jpg")]
    for name in names:
        (photos / name).write_bytes(colour_photo(RED))
    folder = photos / "</title><style>*{display:none}"
    folder.mkdir(parents=True)
    (folder / "tower.jpg").write_bytes(colour_photo(RED)[:200])
    run(config)
    found = read_gallery(gallery(config))
    shown = {path for page in found for path in originals(page, photos)}
    assert {(photos / name).resolve() for name in names} <= shown
    assert (folder / "tower.jpg").resolve() in shown
    text = {text for page in found for text in page.text}
    assert {"<img src=x onerror=alert(1)>.jpg", "&lt;b&gt; {{ 7 * 7 }} {% raw %}.jpg"} <= text
    assert "odd\\xff.jpg" in text


@pytest.mark.skipif(os.name != "posix", reason="such names cannot be given here")
def test_pages_run_one_known_script_and_ask_nobody(
    config: TagConfig, photos: Path, run: Run
) -> None:
    for name in HOSTILE:
        (photos / name).write_bytes(colour_photo(RED))
    run(config)
    for page in read_gallery(gallery(config)):
        tags = {tag for tag, _ in page.elements}
        assert not tags & {"iframe", "object", "embed", "link", "base", "form", "b"}
        assert [tag for tag, _ in page.elements if tag == "script"] == ["script"]
        attributes = {name for _, given in page.elements for name in given}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for address in page.addresses("href", "src"):
            page.leads_to(address)
        assert "url(" not in page.path.read_text(encoding="utf-8")
        policies = [
            given["content"]
            for tag, given in page.elements
            if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"
        ]
        assert len(policies) == 1
        script = page.path.read_text(encoding="utf-8").split("<script>")[1].split("</script>")[0]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert str(policies[0]).startswith(f"default-src 'none'; script-src 'sha256-{digest}';")


def test_a_library_of_that_name_is_shown_as_text(run: Run, tmp_path: Path) -> None:
    library = tmp_path / "<script>alert(1)"
    library.mkdir()
    (library / "nothing.jpg").write_bytes(colour_photo(WHITE))
    config = TagConfig(photos=str(library), out=str(tmp_path / "out"), gallery=True)
    assert run(config).gallery is not None
    index, _ = read_gallery(gallery(config))
    assert "<script>alert(1)" in index.text
    assert any("No photo shows a landmark" in text for text in index.text)


def test_what_is_outdated_goes_and_what_is_not_ours_stays(
    config: TagConfig, photos: Path, run: Run
) -> None:
    run(config)
    before = thumbs(config)
    foreign = [gallery(config) / name for name in ("albums/mine.html", "thumbs/mine.jpg", "notes")]
    for path in foreign:
        path.write_text("mine")
    castle = gallery(config) / "albums" / page_name(Album("France", None, "Château d'If"))
    assert castle.is_file()
    (photos / "2024/castle.jpeg").unlink()
    (photos / "2024/paris/tower.jpg").write_bytes(colour_photo(RED, (640, 480)))
    half = next(iter(before)).with_name(f".{next(iter(before)).name}.tmp")
    half.write_bytes(b"left by a killed run")
    run(config)
    assert not castle.exists()
    assert not half.exists()
    after = {path: changed for path, changed in thumbs(config).items() if path not in foreign}
    assert len(after) == len(before) - 1
    assert len(set(after) - set(before)) == 1
    assert [path.read_text() for path in foreign] == ["mine"] * 3


def test_an_interrupted_run_leaves_the_old_pages_and_goes_on(
    config: TagConfig, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config)
    before = {page.path: page.path.read_bytes() for page in read_gallery(gallery(config))}
    (photos / "2024/castle.jpeg").unlink()
    for index in range(5):
        (photos / f"new{index}.jpg").write_bytes(colour_photo(GREEN))
    made: list[Path] = []
    thumbnail = galleries.thumbnail

    def make_two(photo: Path) -> bytes:
        made.append(photo)
        if len(made) > 2:
            raise KeyboardInterrupt
        return thumbnail(photo)

    with monkeypatch.context() as patch:
        patch.setattr(galleries, "thumbnail", make_two)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert {page.path: page.path.read_bytes() for page in read_gallery(gallery(config))} == before
    assert not list(gallery(config).glob(".*"))
    kept = thumbs(config)
    # As a power cut may leave one.
    next(iter(kept)).write_bytes(b"")
    run(config)
    assert min(path.stat().st_size for path in thumbs(config)) > 0
    assert len(thumbs(config)) == NO_PHOTOS - 2 - 1 + 5
    assert [path for path in thumbs(config) if path not in kept]


def test_a_large_album_is_split_into_pages(
    config: TagConfig, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(galleries, "PHOTOS_ON_A_PAGE", 2)
    for index in range(4):
        (photos / f"0{index}.jpg").write_bytes(colour_photo(RED))
    run(config)
    album = Album("France", "Paris", "Eiffel Tower")
    names = [page_name(album, number) for number in (1, 2, 3)]
    found = [Read(gallery(config) / "albums" / name) for name in names]
    assert [[path.name for path in originals(page, photos)] for page in found] == [
        ["00.jpg", "01.jpg"],
        ["02.jpg", "03.jpg"],
        ["tower with gps.JPG", "tower.jpg"],
    ]
    assert not (gallery(config) / "albums" / page_name(album, 4)).exists()
    rel = [
        {str(given["rel"]): given["href"] for _, given in page.elements if "rel" in given}
        for page in found
    ]
    assert rel == [{"next": names[1]}, {"prev": names[0], "next": names[2]}, {"prev": names[1]}]
    assert {"Page 2 of 3", "Search this page", "Sort this page"} <= set(found[1].text)
    monkeypatch.setattr(galleries, "PHOTOS_ON_A_PAGE", 100)
    run(config)
    assert not (gallery(config) / "albums" / names[1]).exists()


def test_a_dry_run_shows_the_gallery_and_touches_no_library(
    config: TagConfig, photos: Path, run: Run
) -> None:
    files = sorted(photos.rglob("*"))
    run(replace(config, dry_run=True, sidecars="photo.jpg.xmp"))
    assert sorted(photos.rglob("*")) == files
    assert (gallery(config) / "index.html").is_file()


def test_a_gallery_inside_the_library_is_no_part_of_it(
    config: TagConfig, photos: Path, loaded: Loaded
) -> None:
    inside = replace(config, out=str(photos / "tags"))
    library = Library(photos, skip=frozenset([(photos / "tags").resolve()]))
    for _ in range(2):
        assert tag_library(library, loaded, inside).photos == NO_PHOTOS
    reached = {path for page in read_gallery(gallery(inside)) for path in originals(page, photos)}
    assert (photos / "2024/castle.jpeg").resolve() in reached


def test_two_who_make_the_same_thumbnail_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(colour_photo(RED))
    both, draw = Barrier(2, timeout=30), galleries.thumbnail

    def together(photo: Path) -> bytes:
        both.wait()
        return draw(photo)

    monkeypatch.setattr(galleries, "thumbnail", together)
    folder = tmp_path / "thumbs"
    with ThreadPoolExecutor(2) as pool:
        make = partial(galleries.find_or_make_thumbnail, Path("a.jpg"), tmp_path, folder)
        made = [future.result() for future in [pool.submit(make) for _ in range(2)]]
    assert made[0] == made[1]
    assert [file.name for file in folder.rglob("*") if file.is_file()] == [Path(made[0]).name]


def test_a_photo_that_is_gone_meanwhile_has_a_card_without_a_picture(
    config: TagConfig, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(photo: Path) -> bytes:
        raise FileNotFoundError(2, "No such file", str(photo))

    monkeypatch.setattr(galleries, "thumbnail", gone)
    run(config)
    tower = Read(gallery(config) / "albums" / page_name(Album("France", "Paris", "Eiffel Tower")))
    assert "no picture" in tower.text
    assert (photos / "2024/paris/tower.jpg").resolve() in originals(tower, photos)


def test_a_second_run_makes_no_thumbnail_again(config: TagConfig, run: Run) -> None:
    run(config)
    before = thumbs(config)
    assert len(before) == NO_PHOTOS - 2
    run(config)
    assert thumbs(config) == before


def test_thumbnails_of_a_folder_that_cannot_be_opened_stay(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path
) -> None:
    run(config)
    before = thumbs(config)
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    run(config)
    assert thumbs(config) == before
    (photos / "2024").unlink()
    run(config)
    assert len(thumbs(config)) == len(before) - 3


@pytest.mark.parametrize(
    ("size", "orientation", "shown"),
    [((1600, 1200), 1, (320, 240)), ((1600, 1200), 6, (240, 320)), ((40, 32), 1, (40, 32))],
)
def test_a_thumbnail_is_small_upright_and_tells_no_place(
    size: tuple[int, int], orientation: int, shown: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.load(gps_exif(12, 34))
    exif[0x0112] = orientation
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(colour_photo(RED, size, exif=exif.tobytes()))
    content = galleries.thumbnail(photo)
    picture: Any = Image.open(io.BytesIO(content))
    assert picture.format == "JPEG"
    assert picture.size == shown
    assert dict(picture.getexif()) == {}
    assert b"camera" not in content


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


def test_photos_count_in_all_albums_around_theirs() -> None:
    with PhotoIndex() as index:
        for number, (album, confidence, thumbnail) in enumerate(
            [
                (TOWER, 0.8, "a"),
                (TOWER, 0.9, "b"),
                (PARIS, 0.7, "c"),
                (CASTLE, 0.95, None),
                (NOWHERE, 0.6, "d"),
            ]
        ):
            found: Any = answer([TOWER_ANSWER | {"confidence": confidence}], 0.9, 0.5, None)
            taken = f"20{20 + number}-06-01 10:11"
            index.add(album, Tagged(Path(f"{number}.jpg"), found), thumbnail, taken, 0.5)
        cut = Tagged(Path("cut.jpg"), refused("truncated", "cut"))
        index.add(Unfiled.REFUSED, cut, None, "", 0.5)
        assert index.unfiled == {Unfiled.REFUSED: 1}
        entries = index.entries
        assert {album: (entry.own, entry.photos) for album, entry in entries.items()} == {
            FRANCE: (0, 4),
            CASTLE: (1, 1),
            PARIS: (1, 3),
            TOWER: (2, 2),
            NOWHERE: (1, 1),
        }
        assert [entries[album].cover for album in (FRANCE, PARIS, CASTLE)] == ["b", "b", None]
        assert sorted(entries[PARIS].years) == ["2020", "2021", "2022"]
        assert [entry.album for entry in entries[FRANCE].all_within()] == [CASTLE, PARIS, TOWER]


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
        assert PAGE_NAME.fullmatch(name), name
        assert name.isascii()
        assert len(name) < 100
        assert "/" not in name
    for name in ("mine.html", "index.html", "notes-2.html", "france-1a2b.html"):
        assert not PAGE_NAME.fullmatch(name)


COUNTRY = Area("country", 0.7, None, "France", latitude=None, longitude=None, tags=("old",))


def card_of(
    area: Area, own: tuple[float, float] | None, *, score: float = 0.9, min_confidence: float = 0.5
) -> dict[str, Any]:
    found = Tagged(Path("a.jpg"), answer([TOWER_ANSWER], score, 0.5, own, area))
    return make_card(found, None, "", "../photos", min_confidence)


@pytest.mark.parametrize(("area", "title"), [(CITY, "Paris"), (COUNTRY, "France")])
def test_a_photo_of_one_of_several_landmarks_is_called_so(area: Area, title: str) -> None:
    assert card_of(area, None)["title"] == title
    # Where its own position tells city and country, those are not what the model means.
    found = card_of(area, (52.5, 13.4))
    assert (found["title"], found["confidence"]) == ("One of several landmarks", area.confidence)
    assert found["tags"] == area.tags
    unsure = card_of(area, (52.5, 13.4), min_confidence=0.8)
    assert (unsure["title"], unsure["tags"]) == ("Perhaps one of several landmarks", ())


def test_a_map_shows_no_more_than_the_world() -> None:
    pins = [Pin("Suva", -18.1, 178.4), Pin("Apia", -13.8, -171.8)]
    found = re.search('viewBox="([^"]*)"', world_map(pins, "both"))
    assert found
    left, top, width, height = map(float, found[1].split())
    assert -180 <= left < left + width <= 180
    assert -90 <= top < top + height <= 90


def test_a_photo_of_none_is_called_so_wherever_it_is() -> None:
    found = card_of(CITY, (52.5, 13.4), score=0.1)
    assert (found["title"], found["confidence"]) == ("No known landmark", None)
