"""A library: its photos are found, read and recognised, and placed where they were taken."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark_ml.inference.predictor import Predictor
from serving.tagging.library import Library, PhotoLocations, Tagged, in_order, read_places
from tests.colour_artifact import RED, colour_photo

OWN = [
    "empty.png",
    "2023/cut.jpg",
    "2023/nothing.jpg",
    "2023/nowhere.jpg",
    "2024/castle.jpeg",
    "2024/paris/tower with gps.JPG",
    "2024/paris/tower.jpg",
]


def names(library: Library) -> list[str]:
    return [found.path.as_posix() for found in library.walk()]


def test_photos_are_found_at_any_depth_and_hidden_files_are_not(photos: Path) -> None:
    library = Library(photos)
    assert names(library) == OWN
    assert library.other_pictures == {".crw": 1}


def test_raw_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    raw = {".3fr", ".crw", ".dcr", ".erf", ".iiq", ".mos", ".mrw", ".srf", ".x3f"}
    for suffix in raw:
        (tmp_path / f"tower{suffix.upper()}").write_bytes(b"raw")
    library = Library(tmp_path)
    assert names(library) == []
    assert library.other_pictures == dict.fromkeys(raw, 1)


def test_each_photo_comes_with_its_size_and_change(photos: Path) -> None:
    for found in Library(photos).walk():
        state = (photos / found.path).stat()
        assert (found.size, found.mtime_ns) == (state.st_size, state.st_mtime_ns)


def test_a_damaged_time_stamp_fits_into_a_database(photos: Path) -> None:
    in_2286 = 10**19
    odd = photos / "2024/paris/tower.jpg"
    os.utime(odd, ns=(0, in_2286))
    if odd.stat().st_mtime_ns != in_2286:
        pytest.skip("this file system keeps no such time")
    with sqlite3.connect(":memory:") as database:
        for found in Library(photos).walk():
            database.execute("SELECT ?", [found.mtime_ns])


def test_links_in_circles_end(photos: Path) -> None:
    (photos / "2024" / "again").symlink_to(photos, target_is_directory=True)
    (photos / "2024" / "self").symlink_to(photos / "2024" / "self")
    (photos / "gone.jpg").symlink_to(photos / "nowhere to be found.jpg")
    assert names(Library(photos)) == OWN


def test_linked_folders_and_photos_belong_to_the_library(photos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (photos / "2024/castle.jpeg").rename(outside / "castle.jpeg")
    (photos / "2023/linked").symlink_to(outside, target_is_directory=True)
    (photos / "top.jpg").symlink_to(outside / "castle.jpeg")
    found = names(Library(photos))
    assert "2023/linked/castle.jpeg" in found
    assert "top.jpg" in found


def test_what_is_to_be_skipped_is_skipped(photos: Path) -> None:
    library = Library(photos, skip=frozenset([(photos / "2023").resolve()]))
    assert not [name for name in names(library) if name.startswith("2023")]


@pytest.mark.skipif(os.name != "posix", reason="no pipes here")
def test_a_pipe_is_no_photo(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    assert names(Library(photos)) == OWN


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may open any folder")
def test_a_folder_that_cannot_be_opened_is_named(photos: Path) -> None:
    closed = photos / "2023"
    closed.chmod(0)
    library = Library(photos)
    try:
        assert "2024/castle.jpeg" in names(library)
    finally:
        closed.chmod(0o755)
    assert list(library.unreadable) == [Path("2023")]


def test_what_cannot_be_opened_is_named_by_its_path_within(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "2024/old").symlink_to("/mnt/not mounted", target_is_directory=True)
    scandir = os.scandir

    def scan_or_refuse(folder: Path) -> Any:
        if Path(folder) == photos / "2023":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan_or_refuse)
    library = Library(photos)
    assert names(library) == [name for name in OWN if not name.startswith("2023")]
    assert library.unreadable == {
        Path("2023"): "Permission denied",
        Path("2024/old"): "No such file or directory",
    }


def test_a_library_is_a_folder(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"gone is not a folder; name the folder"):
        Library(photos / "gone")


def test_one_photo_may_be_all_that_is_looked_at(photos: Path) -> None:
    assert names(Library(photos / "2024", only="castle.jpeg")) == ["castle.jpeg"]


def test_a_library_is_not_to_be_skipped_as_a_whole(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"is also the folder to write to.*give out a folder"):
        Library(photos / "2024/..", skip=frozenset([photos.resolve()]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_photo_that_becomes_a_pipe_is_an_error_not_a_wait(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (found,) = Library(tmp_path).walk()
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    answer = Library(tmp_path).read(found.path)
    assert isinstance(answer, OSError)
    assert "pipe" in str(answer)


THREADS = 3


def test_results_keep_the_order_of_the_items() -> None:
    def late_if_even(item: int) -> int:
        time.sleep(0.02 * (item % 2 == 0))
        return -item

    assert list(in_order(late_if_even, range(20), THREADS, name="test")) == [-i for i in range(20)]
    assert list(in_order(late_if_even, [], THREADS, name="test")) == []


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    results = in_order(abs, items(), THREADS, name="test")
    for done in range(1, 50):
        next(results)
        assert taken <= done + THREADS


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = in_order(fail_at_three, range(100), THREADS, name="ends")
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("ends")]


def test_who_stops_early_leaves_no_thread() -> None:
    results = in_order(abs, iter(range(1000)), THREADS, name="early")
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("early")]


BUSAN, LYON = (35.18, 129.07), (45.764, 4.8357)


def where(
    own: PhotoLocations, predictor: Predictor, at: tuple[float, float]
) -> tuple[str | None, ...]:
    """City, country and its code of a photo taken there."""
    (answer,) = predictor.predict([colour_photo(RED)])
    answer = {**answer, "location_source": "exif", "latitude": at[0], "longitude": at[1]}
    ((_, found, *_),) = own.apply([Tagged(Path("a.jpg"), answer)])
    country = found["country"]
    return found["city"], country, own.country_codes.get(country or "")


def test_countries_are_called_as_the_gazetteer_calls_them(predictor: Predictor) -> None:
    assert where(PhotoLocations(predictor), predictor, BUSAN) == ("Busan", "South Korea", "KR")


def test_places_are_named_in_the_language_asked_for(predictor: Predictor) -> None:
    german = PhotoLocations(predictor, language="de")
    assert where(german, predictor, BUSAN) == ("Busan", "Südkorea", "KR")
    assert where(german, predictor, (41.8986, 12.4769)) == ("Rom", "Italien", "IT")
    (answer,) = predictor.predict([colour_photo(RED)])
    ((_, found, *_),) = german.apply([Tagged(Path("a.jpg"), answer)])
    candidates = found["candidates"] or []
    assert (found["country"], candidates[0]["country"]) == ("Frankreich", "Frankreich")
    with pytest.raises(ValueError, match="language is 'German'"):
        PhotoLocations(predictor, language="German")


def test_places_without_a_country_leave_it_to_the_towns(
    predictor: Predictor, tmp_path: Path
) -> None:
    file = tmp_path / "places.csv"
    file.write_text(f"landmark,latitude,longitude\nfoot bridge,{LYON[0]},{LYON[1]}\n")
    own = PhotoLocations(predictor, read_places(str(file)))
    towns = where(PhotoLocations(predictor), predictor, LYON)
    assert where(own, predictor, LYON) == towns
    assert None not in towns


def test_places_of_a_csv_name_what_the_model_does_not(predictor: Predictor, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(
        "landmark,latitude,longitude,city,country,country_code\n"
        "camp,33,126,Camp,Korea,KR\nhouse,43,5,House,Frankreich,FR\n"
    )
    places = read_places(str(file))
    assert [place.name for place in places[:2]] == ["camp", "house"]
    own = PhotoLocations(predictor, places)
    assert where(own, predictor, BUSAN) == ("Busan", "Korea", "KR")
    # The model's landmarks stand in France, and its answers say so.
    assert where(own, predictor, LYON)[1:] == ("France", "FR")
    assert where(own, predictor, (43.0, 5.0)) == ("House", "Frankreich", "FR")
