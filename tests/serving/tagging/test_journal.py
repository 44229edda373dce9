"""The journal's file over time: a library that moved, a full disk, and what is no journal."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from landmark_ml.config import TagConfig
from serving.tagging.journal import Journal
from serving.tagging.library import Found
from serving.tagging.tagger import JOURNAL
from tests.serving.tagging.conftest import Run


def change(config: TagConfig, *statements: str, **values: object) -> None:
    with closing(sqlite3.connect(Path(config.out) / JOURNAL)) as journal, journal:
        for statement in statements:
            journal.execute(statement, tuple(values.values()) if "?" in statement else ())


def test_another_library_does_not_take_the_place_of_the_first(
    config: TagConfig, run: Run, tmp_path: Path
) -> None:
    before = run(config)
    table = (before.out / "tags.csv").read_bytes()
    other = tmp_path / "others"
    other.mkdir()
    shutil.copy(next(Path(config.photos).rglob("*.jpg")), other / "1.jpg")
    with pytest.raises(ValueError, match=rf"belongs to the photos in {config.photos}; give out a"):
        run(replace(config, photos=str(other)))
    assert (before.out / "tags.csv").read_bytes() == table
    # A folder within is another library too.
    with pytest.raises(ValueError, match="give out a folder of its own"):
        run(replace(config, photos=str(Path(config.photos) / "2024")))
    assert run(config).recognised == 0


def test_a_library_that_moved_keeps_its_answers(
    config: TagConfig, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(config.photos, here)
    first = run(replace(config, photos=str(here)))
    here.rename(there)
    second = run(replace(config, photos=str(there)))
    assert (second.photos, second.recognised) == (first.photos, 0)
    assert f"{there} is taken for the library that was in {here}" in caplog.text


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    photos = [Found(Path(f"{number}.jpg"), 1, 1) for number in range(10_000)]

    def fill() -> None:
        with Journal(path) as journal:
            journal._db.execute("PRAGMA max_page_count = 5")
            journal.scan(photos)

    with pytest.raises(OSError, match=rf"{path} .*is full.*space"):
        fill()


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b"something else altogether" * 100)
    with pytest.raises(ValueError, match=r"journal\.sqlite is not a journal.*remove it"):
        Journal(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_journal_with_damaged_pages_is_named(config: TagConfig, run: Run) -> None:
    path = run(config).out / JOURNAL
    content = bytearray(path.read_bytes())
    # The table of photos; the first page, by which the file is known, stays.
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"journal\.sqlite is not a journal, or is damaged"):
        run(config)


def test_a_damaged_text_or_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    Journal(path).__exit__(None, None, None)
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("INSERT INTO photos VALUES (x'61', 1, 1, 'x', 'q', CAST(x'ff' AS TEXT))")
        opened.commit()

    def read() -> None:
        with Journal(path) as journal:
            journal.scan([Found(Path("a"), 1, 1)])
            list(journal.answers())

    with pytest.raises(ValueError, match=r"journal\.sqlite is not a journal, or is damaged"):
        read()


def test_answers_of_another_version_are_no_damage(tmp_path: Path) -> None:
    with Journal(tmp_path / JOURNAL) as journal:
        journal.scan([Found(Path("a"), 1, 1)])
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as opened:
        opened.execute("""UPDATE photos SET answer = '{"landmark": null}'""")
        opened.commit()
    with (
        Journal(tmp_path / JOURNAL, again=False) as journal,
        pytest.raises(ValueError, match=r"another version, which lack 'level'; tag again"),
    ):
        list(journal.answers())


@pytest.mark.parametrize("answer", ['{"landmark": "Eif', "3"])
def test_a_damaged_answer_is_named(answer: str, config: TagConfig, run: Run) -> None:
    run(config)
    change(
        config,
        "UPDATE photos SET answer = ? WHERE path = CAST('2024/paris/tower.jpg' AS BLOB)",
        answer=answer,
    )
    with pytest.raises(ValueError, match=r"damaged \(the answer for 2024/paris/tower\.jpg.*remove"):
        run(config)
