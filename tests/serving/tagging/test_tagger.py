"""A library tagged: the table, what is done again and what is not, what cannot be seen."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import tag
from landmark_ml.config import TagConfig
from serving.tagging.table import CSV
from tests.colour_artifact import BLUE, GREEN, RED, TOWER, colour_photo
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.tables import parquet

NO_PHOTOS = 7


def test_every_photo_gets_a_row(config: TagConfig, run: Run) -> None:
    result = run(config)
    rows = parquet(config)
    assert len(rows) == result.photos == result.recognised == NO_PHOTOS
    tower = rows["2024/paris/tower.jpg"]
    assert (tower["landmark"], tower["city"], tower["country"]) == (
        "Eiffel Tower",
        "Paris",
        "France",
    )
    assert (tower["latitude"], tower["location_source"]) == (TOWER.latitude, "landmark")
    assert tower["tags"] == list(TOWER.tags)
    assert tower["model"] == "landmarks/1"
    assert len(tower["runners_up"]) == 2
    assert rows["2024/paris/tower with gps.JPG"]["latitude"] == 12
    assert rows["2023/nothing.jpg"]["landmark"] is None
    assert rows["2023/nothing.jpg"]["is_landmark"] is False
    assert rows["2023/cut.jpg"]["error_code"] == "truncated"
    assert rows["empty.png"]["error_code"] == "empty"
    assert result.landmarks == {"Eiffel Tower": 2, "Château d'If": 1, "Nowhere": 1}
    assert result.refused == {"truncated": 1, "empty": 1}
    assert result.other_pictures == {".crw": 1}


def test_the_csv_says_what_the_parquet_says(config: TagConfig, run: Run) -> None:
    run(config)
    rows = parquet(config)
    with (Path(config.out) / CSV).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["path"] for line in lines] == list(rows)
    for line in lines:
        for name, value in rows[line["path"]].items():
            text = ";".join(value) if isinstance(value, list) else value
            assert line[name] == ("" if text is None else str(text))


def test_only_what_is_new_or_changed_is_recognised_again(
    config: TagConfig, run: Run, photos: Path
) -> None:
    assert run(config).recognised == NO_PHOTOS
    assert run(config).recognised == 0
    (photos / "new.jpg").write_bytes(colour_photo(BLUE))
    (photos / "2024/castle.jpeg").write_bytes(colour_photo(RED, (64, 64)))
    assert run(config).recognised == 2
    assert parquet(config)["2024/castle.jpeg"]["landmark"] == "Eiffel Tower"
    assert parquet(config)["new.jpg"]["landmark"] == "Nowhere"


def test_a_photo_that_is_gone_leaves_the_table_and_may_come_back(
    config: TagConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    run(config)
    (photos / "2024").rename(tmp_path / "moved")
    assert run(config).recognised == 0
    assert not [path for path in parquet(config) if path.startswith("2024")]
    (tmp_path / "moved").rename(photos / "2024")
    assert run(config).recognised == 0
    assert len(parquet(config)) == NO_PHOTOS


def test_another_model_or_threshold_asks_again(config: TagConfig, run: Run) -> None:
    assert run(config).recognised == NO_PHOTOS
    assert run(config, 2).recognised == NO_PHOTOS
    strict = TagConfig(photos=config.photos, out=config.out, threshold=1.0)
    assert run(strict, 2).recognised == NO_PHOTOS
    assert {row["landmark"] for row in parquet(strict).values()} == {None}


def test_a_file_that_the_system_does_not_give_is_asked_for_again(
    config: TagConfig, run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = photos / "2024/castle.jpeg"
    opened = Path.open

    def open_or_refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == refused:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_or_refuse)
        run(config)
    row = parquet(config)["2024/castle.jpeg"]
    assert (row["error_code"], row["error_reason"]) == ("cannot_be_read", "Permission denied")
    assert run(config).recognised == 1
    assert parquet(config)["2024/castle.jpeg"]["landmark"] == "Château d'If"


def test_a_kind_of_file_that_no_decoder_read_is_tried_again(
    config: TagConfig, run: Run, photos: Path
) -> None:
    run(config)
    (photos / "drawing.jpg").write_bytes(b"8BPS" + bytes(64))
    assert run(config).recognised == 1
    assert parquet(config)["drawing.jpg"]["error_code"] == "unsupported"
    assert run(config).recognised == 1


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_a_name_that_is_no_text_is_tagged_all_the_same(
    config: TagConfig, run: Run, photos: Path
) -> None:
    path = os.fsencode(photos) + b"/odd\xff.jpg"
    Path(os.fsdecode(path)).write_bytes(colour_photo(GREEN))
    run(config)
    assert parquet(config)["odd\\xff.jpg"]["landmark"] == "Château d'If"


def test_an_empty_library_has_an_empty_table(config: TagConfig, run: Run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = TagConfig(photos=str(tmp_path / "none"), out=config.out)
    for _ in range(2):
        with pytest.raises(ValueError, match="holds no photos; name the folder of your photos"):
            run(empty)
    (tmp_path / "none" / "1.CRW").write_bytes(b"raw")
    with pytest.raises(ValueError, match=r"no photos that can be read, but 1 \*\.crw; export"):
        run(empty)


def test_a_library_whose_photos_are_all_gone_at_once_is_refused(
    config: TagConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    """As the mount point of a disk is found that is not mounted."""
    run(config)
    before = parquet(config)
    photos.rename(tmp_path / "disk")
    photos.mkdir()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"holds no photos.*mounted.*remove .*journal\.sqlite"):
            run(config)
    assert parquet(config) == before
    photos.rmdir()
    (tmp_path / "disk").rename(photos)
    assert run(config).recognised == 0
    assert parquet(config) == before


def test_photos_of_a_folder_that_cannot_be_opened_stay_in_the_table(
    config: TagConfig, run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config)
    before = parquet(config)
    (photos / "2024/castle.jpeg").unlink()
    (photos / "2024/paris").rename(tmp_path / "disk")
    (photos / "2024/paris").symlink_to("/mnt/not mounted")
    (photos / "2024/paris and more.jpg").write_bytes(colour_photo(GREEN))
    for recognised in (1, 0):
        result = run(config)
        assert (result.recognised, result.photos) == (recognised, NO_PHOTOS)
    rows = parquet(config)
    assert set(rows) == set(before) - {"2024/castle.jpeg"} | {"2024/paris and more.jpg"}
    assert {path: row for path, row in rows.items() if path in before}.items() <= before.items()
    tag.print_tagging(result)
    assert "not opened  2024/paris: " in capsys.readouterr().out
    (photos / "2024/paris").unlink()
    assert run(config).recognised == 0
    assert not [path for path in parquet(config) if path.startswith("2024/paris/")]


def test_another_model_says_nothing_of_photos_that_it_cannot_see(
    config: TagConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    run(config)
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    assert run(config, 2).recognised == NO_PHOTOS - 3
    assert {row["model"] for row in parquet(config).values()} == {"landmarks/2"}
    assert len(parquet(config)) == NO_PHOTOS - 3


def test_what_a_killed_run_left_beside_the_photos_and_in_out_is_gone(
    config: TagConfig, run: Run, photos: Path
) -> None:
    config = replace(config, sidecars="photo.jpg.xmp", albums="list", gallery=True)
    out = Path(config.out)
    # Scratch names of this version and of older ones.
    names = (".tower.jpg.xmp.tmp", ".tower.jpg.xmp.77.tmp", ".tower.jpg.xmp.0af31b2c.tmp")
    left = [photos / "2024/paris" / name for name in names]
    left += [out / f".{name}.tmp" for name in ("sidecars.csv", "tags.csv", "tags.parquet")]
    left += [out / ".albums.csv.tmp", out / "gallery/.index.html.tmp"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    run(replace(config, dry_run=True))
    assert [path for path in left if path.exists()] == left[:3]
    run(config)
    assert [path for path in left if path.exists()] == []
