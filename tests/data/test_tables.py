"""Tables of photos become datasets; a bad table is refused with its row, the reason and the fix."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.data.opening import open_dataset
from landmark_ml.data.places import open_gazetteer
from tests.photo_folders import write_class, write_photo


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty photos in folders whose names say nothing; the cache is beside them."""
    monkeypatch.chdir(tmp_path)
    write_class(tmp_path / "photos" / "a", range(20))
    write_class(tmp_path / "photos" / "b", range(20, 40))
    return tmp_path / "photos"


def rows(**columns: object) -> pd.DataFrame:
    """The forty photos of two landmarks, with more columns."""
    paths = [f"{'ab'[seed // 20]}/{seed}.jpg" for seed in range(40)]
    labels = ["Old Mill" if seed % 2 else "Eiffel Tower" for seed in range(40)]
    return pd.DataFrame({"path": paths, "label": labels} | columns)


def config_of(table: pd.DataFrame, root: Path, **options: object) -> DataConfig:
    table.to_csv(root / "mine.csv", index=False)
    return DataConfig(data=str(root / "mine.csv"), **options)  # type: ignore[arg-type]


def test_a_csv_and_a_parquet_file_are_the_same_dataset(root: Path) -> None:
    first = open_dataset(config_of(rows(), root))
    rows().to_parquet(root / "mine.parquet")
    second = open_dataset(DataConfig(data=str(root / "mine.parquet")))
    assert first == second
    assert first.name == "mine"
    assert first.root == root.resolve()
    assert first.classes == ("Eiffel Tower", "Old Mill")
    assert len(first.photos) == 40
    assert all(photo.label == int(photo.path.stem) % 2 for photo in first.photos)


def test_columns_of_the_table_count(root: Path) -> None:
    splits = ["test" if seed < 4 else "valid" if seed < 8 else "train" for seed in range(40)]
    groups = ["walk" if seed < 20 else "" for seed in range(40)]
    times = ["2023-07-14T23:59:00" if seed < 30 else "2023-07-15 01:00" for seed in range(40)]
    places = {"latitude": [51.0] * 39 + [""], "longitude": [3.5] * 40}
    table = rows(split=splits, group=groups, captured_at=times, **places)
    table.loc[9, "label"] = "not_landmarks"
    dataset = open_dataset(config_of(table, root))
    assert {int(photo.path.stem) for photo in dataset.test} == {*range(4)}
    assert {int(photo.path.stem) for photo in dataset.val} == {*range(4, 8)}
    assert [photo.path.name for photo in dataset.distractors("train")] == ["9.jpg"]
    by_number = {int(photo.path.stem): photo for photo in dataset.photos}
    assert by_number[9].label == NOT_A_LANDMARK
    assert len({by_number[seed].visit for seed in range(20)}) == 1
    assert len({by_number[seed].visit for seed in range(40)}) == 2
    assert by_number[38].position == (51.0, 3.5)
    assert by_number[39].position is None
    copies = open_dataset(config_of(table, root, grouping="copies"))
    assert {photo.visit for photo in copies.photos} == {""}


def test_train_rows_are_split_where_val_is_missing(root: Path) -> None:
    table = rows(split=["test" if seed < 4 else "train" for seed in range(40)])
    dataset = open_dataset(config_of(table, root))
    assert len(dataset.test) == 4
    assert all(dataset.class_counts("val").values())


def test_windows_separators_are_read_and_missing_files_are_counted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = rows()
    table["path"] = table["path"].str.replace("/", "\\")
    table.loc[5, "path"] = "a/gone.jpg"
    dataset = open_dataset(config_of(table, root))
    assert len(dataset.photos) == 39
    assert [file.path.name for file in dataset.unreadable] == ["gone.jpg"]
    assert "1 of 40 files are unreadable" in caplog.text


def test_a_photo_that_is_listed_twice_counts_once(root: Path) -> None:
    write_class(root / "not_landmarks", range(50, 54))
    others = [{"path": f"not_landmarks/{seed}.jpg", "label": ""} for seed in (50, 51)]
    table = pd.concat([rows(), rows().head(1), pd.DataFrame(others)])
    dataset = open_dataset(config_of(table, root))
    assert len(dataset.photos) == len({photo.path for photo in dataset.photos}) == 44


def test_numbers_are_labels_in_parquet_files_too(root: Path) -> None:
    labels = [None if seed == 5 else seed % 2 for seed in range(40)]
    rows(label=labels, latitude=[51.25] * 40, longitude=3).to_parquet(root / "mine.parquet")
    dataset = open_dataset(DataConfig(data=str(root / "mine.parquet")))
    assert dataset.classes == ("0", "1")
    assert sum(photo.label == NOT_A_LANDMARK for photo in dataset.photos) == 1
    assert {photo.position for photo in dataset.photos} == {(51.25, 3.0)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path": "../a/1.jpg"}, "row 4 of 40: path '../a/1.jpg' is empty or leaves"),
        ({"path": "/etc/hosts"}, "row 4 of 40: path '/etc/hosts' is empty or leaves"),
        ({"path": ""}, "row 4 of 40: path '' is empty"),
        ({"path": "s3://photos"}, "row 4 of 40: path 's3://photos' is no address of a photo"),
        ({"path": "a/\0.jpg"}, "row 4 of 40: path .* holds a NUL character"),
        ({"split": "holdout"}, "row 4 of 40: split 'holdout' is unknown; use train, val or test"),
        ({"latitude": "91"}, "row 4 of 40: latitude '91' is no number from -90 to 90"),
        ({"longitude": "3,5"}, "row 4 of 40: longitude '3,5' is no number from -180 to 180"),
        ({"captured_at": "July"}, "row 4 of 40: captured_at 'July' is no time; write 2023-07-14"),
        ({"label": "old_MILL"}, "labels 'Old Mill' and 'old_MILL' mean the same; keep one"),
    ],
)
def test_a_bad_row_is_refused(root: Path, changes: dict[str, str], sentence: str) -> None:
    table = rows(split="", latitude="", longitude="", captured_at="")
    for column, value in changes.items():
        table.loc[3, column] = value
    with pytest.raises(ValueError, match=sentence):
        open_dataset(config_of(table, root))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label,colour\na/1.jpg,Mill,red\n", "with colour .*name its columns path, label"),
        ("path;label\na/1.jpg;Mill\n", "without path and label .*with commas between them"),
        ("path,label\na/1.jpg,Mill,red,\n1\n", "cannot be read as a table|mine.csv"),
        ("path,label\na/1.jpg,Mill\n", "has 1 landmark and at least 2 are needed; it holds 1"),
        ("path,label\na/1.jpg,Mill, old\n", "more fields than the header; quote labels"),
        ("", "cannot be read as a table"),
        ("path,label\na/1.jpg,caf\udce9\n", "cannot be read as a table .* a CSV in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(root: Path, text: str, sentence: str) -> None:
    (root / "mine.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=sentence):
        open_dataset(DataConfig(data=str(root / "mine.csv")))


def test_a_part_of_the_landmarks_is_chosen(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = rows()
    table.loc[table.index[:3], "label"] = "Few"
    table.loc[table.index[3:13], "label"] = "Stonehenge"
    table.loc[table.index[13:20], "label"] = "Big Ben"
    few = open_dataset(config_of(table, root, min_photos=7))
    assert few.classes == ("Big Ben", "Eiffel Tower", "Old Mill", "Stonehenge")
    assert len(few.photos) == 37
    most = open_dataset(config_of(table, root, max_landmarks=2))
    assert most.classes == ("Eiffel Tower", "Old Mill")
    assert {photo.label for photo in most.photos} == {0, 1}
    for country in ("gb", "united kingdom"):
        british = open_dataset(config_of(table, root, country=country))
        assert british.classes == ("Big Ben", "Stonehenge")
    assert "No place is known" not in caplog.text
    with pytest.raises(ValueError, match=r"has 0 landmarks with country 'Atlantis'.* it holds 5"):
        open_dataset(config_of(table, root, country="Atlantis"))


def test_a_landmark_without_a_place_stands_where_its_photos_were_taken(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Across 180 degrees, with one photo far off.
    longitudes = ["179.9", "-179.9", "180", "179.95", "-179.95"] * 8
    table = rows(latitude=["-16.8"] * 40, longitude=longitudes)
    table.loc[1, "latitude"] = "60"
    with caplog.at_level(logging.INFO):
        config = config_of(table, root)
        gazetteer = open_gazetteer(open_dataset(config))
    mill, tower = gazetteer.find("Old Mill"), gazetteer.find("Eiffel Tower")
    assert mill
    assert (mill.latitude, abs(mill.longitude)) == pytest.approx((-16.8, 180), abs=0.05)
    assert mill.country == "Fiji"
    assert tower
    assert tower.country == "France"
    assert "1 landmark not in the gazetteer: placed at the median" in caplog.text
    assert "Old Mill (20 photos, 5" in caplog.text
    fiji = {"country": "Fiji", "min_photos": 1}
    with pytest.raises(ValueError, match="has 1 landmark "):
        open_dataset(config_of(table, root, **fiji))


def test_landmarks_without_any_place_are_named_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_gazetteer(open_dataset(config_of(rows(), root)))
    assert "No place is known for 1 landmark: " in caplog.text
    assert "places.csv: Old Mill" in caplog.text


@pytest.mark.parametrize("clean", [True, False])
def test_google_landmarks_v2_as_its_tools_leave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clean: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    root, ids = tmp_path / "gldv2", [f"{number:016x}" for number in range(12)]
    for number, name in enumerate(ids[:11]):
        write_photo(root / "train" / name[0] / name[1] / name[2] / f"{name}.jpg", number)
    commons = "http://commons.wikimedia.org/wiki/Category:"
    names = ["Caf%C3%A9_de_Flore", "Old_Mill", "Old_mill"]
    pd.DataFrame(
        {"landmark_id": [7, 8, 203], "category": [commons + name for name in names]}
    ).to_csv(root / "train_label_to_category.csv", index=False)
    if clean:
        table = pd.DataFrame(
            {
                "landmark_id": [7, 8, 203],
                "images": [" ".join(ids[first : first + 4]) for first in (0, 4, 8)],
            }
        )
        table.to_csv(root / "train_clean.csv", index=False)
    else:
        numbers = [7] * 4 + [8] * 4 + [203] * 4
        table = pd.DataFrame({"id": ids, "url": "", "landmark_id": numbers})
        table.to_csv(root / "train.csv", index=False)
    dataset = open_dataset(DataConfig(data=str(root)))
    assert dataset.classes == ("Café de Flore", "Old Mill (8)", "Old mill (203)")
    assert [sum(photo.label == label for photo in dataset.photos) for label in range(3)] == [
        4,
        4,
        3,
    ]
    assert "1 photo of" in caplog.text


def test_odd_categories_of_google_landmarks_v2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    categories = "landmark_id,category\n1,C:Category:1._2._A\n2,C:Category:2._A\n1,again\n3,\n"
    names = [f"{number}{number}{number}" for number in range(9)]
    for number, name in enumerate(names):
        write_photo(tmp_path.joinpath("train", *name, f"{name}.jpg"), number)
    (tmp_path / "train_label_to_category.csv").write_text(categories, encoding="utf-8")
    table = pd.DataFrame({"id": names, "landmark_id": [1, 2, 3] * 3})
    table.to_csv(tmp_path / "train.csv", index=False)
    assert open_dataset(DataConfig(data=str(tmp_path))).classes == ("2. A", "3", "A")


def test_a_table_that_google_landmarks_v2_lacks_is_named(tmp_path: Path) -> None:
    categories = tmp_path / "train_label_to_category.csv"
    categories.write_text("landmark_id,category\n7,Mill\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"not Google Landmarks v2 .*train\.csv.*again"):
        open_dataset(DataConfig(data=str(tmp_path)))
    (tmp_path / "train_clean.csv").write_text("id,landmark\n1,7\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'images'.*download train_clean\.csv"):
        open_dataset(DataConfig(data=str(tmp_path)))
