"""A table in parts: the tagger's rows, what is done again and what is not, whatever happens."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest

from landmark_ml.config import ClusterConfig, TagConfig
from landmark_ml.data.stores import open_folder
from landmark_ml.inference.predictor import Predictor
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from serving.champion import Loaded
from serving.cluster import tagger
from serving.cluster.storage import PART_SCHEMA
from serving.cluster.tagger import PartTagger, run_cluster_tagging
from serving.tagging.library import Library
from serving.tagging.table import SCHEMA
from serving.tagging.tagger import tag_library
from tests.colour_artifact import BLUE, GREEN, RED, colour_photo
from tests.serving.cluster.conftest import Run

NO_PHOTOS = 7


def files(config: ClusterConfig) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(config.out).iterdir()}


def table(config: ClusterConfig) -> dict[str, dict[str, Any]]:
    """Rows by path, read as a user would: the folder is one table."""
    read = pq.read_table(config.out)
    assert read.schema.equals(PART_SCHEMA)
    rows = read.to_pylist()
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row for row in rows}


def test_the_rows_are_those_of_the_tagger(
    config: ClusterConfig, photos: Path, run: Run, predictor: Predictor, tmp_path: Path
) -> None:
    result = run(config)
    tagged = tmp_path / "tags"
    plain = tag_library(
        Library(photos),
        Loaded(predictor, "landmarks", 1, "abc"),
        TagConfig(photos=str(photos), out=str(tagged)),
    )
    expected = pq.read_table(tagged / "tags.parquet").to_pylist()
    ours = [{name: row[name] for name in SCHEMA.names} for row in table(config).values()]
    assert sorted(ours, key=lambda row: row["path"].encode()) == sorted(
        expected, key=lambda row: row["path"].encode()
    )
    assert (result.photos, result.recognised) == (plain.photos, plain.recognised) == (7, 7)
    assert (result.landmarks, result.refused) == (plain.landmarks, plain.refused)
    assert result.refused == {"truncated": 1, "empty": 1}
    assert sorted(result.examples) == sorted(plain.examples)
    assert result.other_pictures == {".crw": 1}
    assert result.parts == len([name for name in files(config) if name.startswith("part-")]) > 1


def test_an_interrupted_run_continues_and_ends_like_an_uninterrupted_one(
    config: ClusterConfig, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(config, ends_before=2)
    done = pq.read_table(config.out).num_rows
    assert 0 < done < NO_PHOTOS
    result = run(config)
    assert (result.photos, result.recognised) == (NO_PHOTOS, NO_PHOTOS - done)
    whole = replace(config, out=str(tmp_path / "whole"))
    run(whole)
    assert files(config) == files(whole)


def test_only_what_is_new_or_changed_is_recognised_again(
    config: ClusterConfig, run: Run, photos: Path
) -> None:
    assert run(config).recognised == NO_PHOTOS
    before = files(config)
    assert run(config).recognised == 0
    assert files(config) == before
    (photos / "new.jpg").write_bytes(colour_photo(BLUE))
    (photos / "2024/castle.jpeg").write_bytes(colour_photo(RED, (64, 64)))
    assert run(config).recognised == 2
    assert table(config)["2024/castle.jpeg"]["landmark"] == "Eiffel Tower"
    assert table(config)["new.jpg"]["landmark"] == "Nowhere"


def test_photos_that_are_gone_leave_the_table(
    config: ClusterConfig, run: Run, photos: Path
) -> None:
    run(config)
    for path in photos.rglob("*"):
        if path.is_file() and path.name != "tower.jpg":
            path.unlink()
    assert run(config).recognised == 0
    assert list(table(config)) == ["2024/paris/tower.jpg"]
    assert len(files(config)) == 2, "the layout and one part"


def test_another_model_threshold_or_place_asks_again(
    config: ClusterConfig, run: Run, tmp_path: Path
) -> None:
    assert run(config).recognised == NO_PHOTOS
    later = "landmarks/2"
    assert run(config, later).recognised == NO_PHOTOS
    strict = replace(config, threshold=1.0)
    assert run(strict, later).recognised == NO_PHOTOS
    assert {row["landmark"] for row in table(strict).values()} == {None}
    csv = tmp_path / "places.csv"
    csv.write_text("landmark,latitude,longitude,city,country\ncamp,12,34,Our camp,Nowhereland\n")
    placed = replace(config, places=str(csv))
    assert run(placed, later).recognised == NO_PHOTOS
    assert table(placed)["2024/paris/tower with gps.JPG"]["city"] == "Our camp"


def test_a_photo_that_the_system_does_not_give_is_asked_for_again(
    config: ClusterConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def open_or_refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "castle.jpeg":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_or_refuse)
        assert run(config).recognised == NO_PHOTOS
    assert table(config)["2024/castle.jpeg"]["error_code"] == "cannot_be_read"
    assert run(config).recognised == 1
    assert table(config)["2024/castle.jpeg"]["landmark"] == "Château d'If"


def test_a_kind_of_file_that_no_decoder_read_is_asked_for_again(
    config: ClusterConfig, run: Run, photos: Path
) -> None:
    (photos / "drawing.jpg").write_bytes(b"8BPS" + bytes(64))
    assert run(config).recognised == NO_PHOTOS + 1
    assert table(config)["drawing.jpg"]["error_code"] == "unsupported"
    assert run(config).recognised == 1


def test_a_damaged_part_is_made_again(
    config: ClusterConfig, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run(config)
    before = files(config)
    part = next(name for name in before if name.startswith("part-"))
    (Path(config.out) / part).write_bytes(b"")
    assert 0 < run(config).recognised < NO_PHOTOS
    assert f"{part} cannot be read and is made again" in caplog.text
    assert files(config) == before


class Dying:
    """A file system whose user dies before a file is in its place."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def move(self, *_: str) -> None:
        raise OSError("killed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)


def test_a_killed_worker_leaves_the_part_as_it_was_and_its_scratch_is_swept(
    config: ClusterConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config)
    before = files(config)
    monkeypatch.setattr(
        tagger, "open_folder", lambda place, **options: Dying(open_folder(place, **options))
    )
    with pytest.raises(OSError, match="killed"):
        run(config, "landmarks/2")
    monkeypatch.undo()
    (left,) = set(files(config)) - set(before)
    assert {name: files(config)[name] for name in before} == before
    assert len(table(config)) == NO_PHOTOS, "readers pass over it"
    os.utime(Path(config.out) / left, (0, 0))
    run(config)
    assert set(files(config)) == set(before)


def test_the_number_of_parts_is_fixed_by_the_first_run(config: ClusterConfig, run: Run) -> None:
    run(config)
    before = files(config)
    assert run(replace(config, part_photos=1000)).recognised == 0
    assert files(config) == before


def test_photos_elsewhere_do_not_take_the_place_of_those_before(
    config: ClusterConfig, run: Run, tmp_path: Path
) -> None:
    run(config)
    before = files(config)
    moved = replace(config, photos=str(tmp_path / "elsewhere"))
    shutil.copytree(config.photos, moved.photos)
    with pytest.raises(ValueError, match=rf"out holds the table of {config.photos}; give out a"):
        run(moved)
    assert files(config) == before
    layout = Path(config.out) / "_layout.json"
    layout.write_text(layout.read_text().replace(config.photos, moved.photos))
    assert run(moved).recognised == 0


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"bits": null, "photos": ""}'])
def test_without_knowing_where_rows_stand_nothing_is_written(
    config: ClusterConfig, run: Run, damaged: str
) -> None:
    run(config)
    before = files(config)
    (Path(config.out) / "_layout.json").write_text(damaged)
    with pytest.raises(ValueError, match=r"_layout\.json in out is damaged"):
        run(config)
    assert files(config) == before | {"_layout.json": damaged.encode()}


def test_a_table_that_another_program_wrote_there_is_passed_over(
    config: ClusterConfig, run: Run
) -> None:
    theirs = Path(config.out) / "part-00000-ab.snappy.parquet"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"of Spark")
    assert run(config).recognised == NO_PHOTOS
    assert theirs.read_bytes() == b"of Spark"


def test_the_answer_does_not_depend_on_who_is_beside_the_photo(
    config: ClusterConfig, run: Run, tmp_path: Path
) -> None:
    tables = []
    for part_photos in (1, 3, 1000):
        sized = replace(config, part_photos=part_photos, out=str(tmp_path / f"out{part_photos}"))
        run(sized)
        tables.append(table(sized))
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_a_name_that_is_no_text_is_tagged_all_the_same(
    config: ClusterConfig, run: Run, photos: Path
) -> None:
    Path(os.fsdecode(os.fsencode(photos) + b"/odd\xff.jpg")).write_bytes(colour_photo(GREEN))
    assert run(config).recognised == NO_PHOTOS + 1
    assert table(config)["odd\\xff.jpg"]["landmark"] == "Château d'If"
    assert run(config).recognised == 0


def test_what_lies_in_out_is_no_photo(config: ClusterConfig, run: Run, photos: Path) -> None:
    inside = replace(config, out=str(photos / "tags"))
    assert run(inside).recognised == NO_PHOTOS
    (photos / "tags/thumbnail.jpg").write_bytes(colour_photo(RED))
    assert run(inside).recognised == 0


def test_no_photos_make_no_parts(config: ClusterConfig, run: Run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = replace(config, photos=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="holds no photos; name the folder of your photos"):
        run(empty)
    assert not files(empty)


def test_photos_must_be_named_and_be_there(config: ClusterConfig, run: Run) -> None:
    with pytest.raises(ValueError, match="photos is empty; name a folder or an address"):
        run_cluster_tagging(ClusterConfig())
    with pytest.raises(ValueError, match="is not a folder"):
        run(replace(config, photos="/no/such/folder"))


@pytest.mark.parametrize(
    ("photos", "out"),
    [("s3://key:hush@bucket/photos", "tags"), ("photos", "s3://key:hush@bucket/tags")],
)
@pytest.mark.usefixtures("tracking_uri")
def test_a_password_in_an_address_is_not_recorded(photos: str, out: str) -> None:
    with pytest.raises(ValueError, match="holds a password"):
        run_cluster_tagging(ClusterConfig(photos=photos, out=out, model="unheard_of"))
    runs = mlflow.search_runs(experiment_names=[DEFAULT_EXPERIMENT], output_format="list")
    assert not [run for run in runs if "hush" in str(run.data.params)]


def test_a_part_may_be_tagged_twice(
    config: ClusterConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray hands a part to another worker when the first one dies, whatever it had written."""
    tag = PartTagger.tag

    def twice(tagger: PartTagger, part: Any) -> Any:
        tag(tagger, part)
        return tag(tagger, part)

    monkeypatch.setattr(PartTagger, "tag", twice)
    result = run(config)
    assert (result.photos, result.recognised) == (NO_PHOTOS, 0)
    assert len(table(config)) == NO_PHOTOS


def test_photos_that_are_all_gone_at_once_are_refused(
    config: ClusterConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    """As the mount point of a disk is found that is not mounted."""
    run(config)
    before = files(config)
    photos.rename(tmp_path / "disk")
    photos.mkdir()
    with pytest.raises(ValueError, match=r"holds no photos.*mounted.*give another out"):
        run(config)
    assert files(config) == before


def test_photos_of_a_folder_that_cannot_be_opened_stay_in_the_table(
    config: ClusterConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    run(config)
    before, rows = files(config), table(config)
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    result = run(config)
    assert (result.photos, result.recognised) == (NO_PHOTOS, 0)
    assert list(result.unreadable) == [Path("2024")]
    assert files(config) == before
    (photos / "2023/nowhere.jpg").unlink()
    (photos / "2024 and more.jpg").write_bytes(colour_photo(GREEN))
    assert run(config).recognised == 1
    added = {"2024 and more.jpg": table(config)["2024 and more.jpg"]}
    kept = {path: row for path, row in rows.items() if path != "2023/nowhere.jpg"}
    assert table(config) == kept | added
    (photos / "2024").unlink()
    (tmp_path / "disk").rename(photos / "2024")
    assert run(config).recognised == 0
    assert table(config) == kept | added


def test_no_part_is_removed_of_photos_that_another_model_cannot_see(
    config: ClusterConfig, run: Run, photos: Path, tmp_path: Path
) -> None:
    single = replace(config, part_photos=1)
    run(single)
    before = set(files(single))
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    assert run(single, "landmarks/2").recognised == NO_PHOTOS - 3
    assert set(files(single)) == before
