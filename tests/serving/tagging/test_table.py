"""Albums and a photo's own place: lists and links, never a photo moved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from landmark_ml.config import TagConfig
from serving.tagging.table import MAX_NAME_BYTES, Album, link_name
from serving.tagging.tagger import run_tagging
from tests.serving.tagging.conftest import Run


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> TagConfig:
    return TagConfig(photos=str(photos), out=str(tmp_path / "out"), albums="links")


def test_albums_link_to_photos_that_stay(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    for _ in range(2):
        result = run(config)
    albums = tmp_path / "out/albums"
    links = [path for path in albums.rglob("*") if path.is_symlink()]
    assert len(links) == result.in_albums == 4
    # A landmark has one album: a photo with its own position, in another country, is in it too.
    paris = albums / "France/Paris/Eiffel Tower"
    found = {link.resolve() for link in paris.iterdir()}
    assert found == {photos / "2024/paris" / name for name in ("tower.jpg", "tower with gps.JPG")}
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
    run(replace(config, albums="list", min_confidence=1.0))
    lines = (tmp_path / "out/albums.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "2024/paris/tower with gps.JPG"]


def test_a_photo_is_where_it_says_it_is(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path
) -> None:
    def place() -> tuple[str | None, str | None]:
        run(config)
        rows = pq.read_table(tmp_path / "out/tags.parquet").to_pylist()
        (row,) = [row for row in rows if row["location_source"] == "exif"]
        assert row["landmark"] == "Eiffel Tower"
        return row["city"], row["country"]

    # 12 N 34 E, in Sudan: the tower in the picture stands in Paris, the photo was taken there.
    assert place()[1] == "Sudan"
    csv = tmp_path / "places.csv"
    csv.write_text("landmark,latitude,longitude,city,country\ncamp,12,34,Our camp,Nowhereland\n")
    config = replace(config, places=str(csv))
    assert place() == ("Our camp", "Nowhereland")


def state(folder: Path) -> dict[Path, bytes | str]:
    return {
        path: str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("foreign", ["holiday/beach.jpg", "France/linked.jpg", "France/2024"])
def test_albums_of_a_user_are_refused_and_left_as_they_are(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path, foreign: str
) -> None:
    run(config)
    theirs = tmp_path / "out/albums" / foreign
    theirs.parent.mkdir(exist_ok=True)
    if foreign.startswith("France"):
        theirs.symlink_to(photos / "2024")
    else:
        theirs.write_bytes(b"the only copy")
    before = state(tmp_path / "out/albums")
    assert len(before) == 5
    with pytest.raises(ValueError, match=rf"{foreign} is no link .* give another out"):
        run(config)
    assert state(tmp_path / "out/albums") == before


def test_a_file_in_the_place_of_albums_is_refused(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/albums").write_bytes(b"the only copy")
    with pytest.raises(ValueError, match=r"out.albums is no link"):
        run(config)


def test_albums_are_refused_before_anything_is_recognised(
    config: TagConfig, tmp_path: Path
) -> None:
    (tmp_path / "out/albums").mkdir(parents=True)
    (tmp_path / "out/albums/beach.jpg").write_bytes(b"the only copy")
    with pytest.raises(ValueError, match=r"beach\.jpg is no link"):
        run_tagging(config)
    assert not (tmp_path / "out/journal.sqlite").exists()


def test_links_that_are_outdated_go_and_hidden_files_stay(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path
) -> None:
    run(config)
    albums = (tmp_path / "elsewhere").resolve()
    (tmp_path / "out/albums").rename(albums)
    (tmp_path / "out/albums").symlink_to(albums)
    (albums / "France/.DS_Store").write_bytes(b"what a file manager leaves")
    (albums / ".git/refs").mkdir(parents=True)
    run(replace(config, min_confidence=1.0))
    assert [path.relative_to(albums).parts[0] for path in albums.rglob("*.JPG")] == ["Sudan"]
    assert [path.name for path in (albums / "France").rglob("*")] == [".DS_Store"]
    assert (albums / ".git/refs").is_dir()


def test_the_library_itself_is_no_place_to_write_to(config: TagConfig, photos: Path) -> None:
    (photos / "albums").mkdir()
    (photos / "albums/beach.jpg").write_bytes(b"the only copy")
    with pytest.raises(ValueError, match=r"is also the folder to write to.*give out a folder"):
        run_tagging(replace(config, out=str(photos)))
    assert (photos / "albums/beach.jpg").read_bytes() == b"the only copy"


@pytest.mark.parametrize("letter", ["東", "é", "x", "𓀀"])
def test_names_are_as_long_as_a_file_system_takes(
    config: TagConfig, photos: Path, run: Run, tmp_path: Path, letter: str
) -> None:
    name = letter * (250 // len(letter.encode())) + ".jpg"
    (photos / name).write_bytes((photos / "2024/paris/tower.jpg").read_bytes())
    run(config)
    links = (tmp_path / "out/albums/France/Paris/Eiffel Tower").iterdir()
    (link,) = [link for link in links if link.resolve() == photos / name]
    assert link.name.startswith(letter * (MAX_NAME_BYTES // len(letter.encode())) + "-")


def test_a_folder_is_named_in_bytes_that_a_file_system_takes(tmp_path: Path) -> None:
    for name in ("東" * 90, "x" * (MAX_NAME_BYTES - 1) + ". . y", " ."):
        folder = Album("France", None, name).folder
        (tmp_path / folder).mkdir(parents=True)
        assert not folder.name.endswith((".", " "))


@pytest.mark.skipif(os.name != "posix", reason="such names cannot be given here")
def test_bytes_of_a_short_name_are_kept() -> None:
    path = Path(os.fsdecode(b"odd\xff.jpg"))
    assert os.fsencode(link_name(path)).startswith(b"odd\xff-")
