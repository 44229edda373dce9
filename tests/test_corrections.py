"""Decisions survive killed writers, meet in two people's files, and refuse what they are not."""

import multiprocessing
from pathlib import Path

import pytest

from landmark_ml.corrections import Correction, append_corrections, read_corrections

A, B, C = (letter * 64 for letter in "abc")
HEADER = "sha256,path,said,decision,right,by,when\n"
ROW = f"{A},one.jpg,Eiffel Tower,landmark,Louvre,ada,2026-11-29T10:00:00+00:00"


def corrected(
    sha256: str, decision: str = "rejected", right: str = "", when: str = ""
) -> Correction:
    return Correction(sha256, f"{sha256[0]}.jpg", "Eiffel Tower", decision, right, "ada", when)


def test_the_newest_decision_on_a_photo_counts(tmp_path: Path) -> None:
    path = tmp_path / "tags" / "corrections.csv"
    append_corrections(path, [corrected(A), corrected(B, "no_landmark")])
    append_corrections(path, [corrected(A, "landmark", 'Tower "of" London, north'), corrected(C)])
    append_corrections(path, [corrected(C, "undone")])
    found = read_corrections(path)
    assert {sha256: row.right for sha256, row in found.items()} == {
        A: 'Tower "of" London, north',
        B: "",
    }
    assert path.read_text().startswith(HEADER)
    assert len(path.read_text().splitlines()) == 6


def test_paths_are_those_beside_the_file_or_absolute(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    rows = [corrected(A), corrected(B)._replace(path="/photos/b.jpg"), corrected(C)]
    append_corrections(path, [*rows[:2], rows[2]._replace(path="")])
    found = read_corrections(path)
    assert [row.path for row in found.values()] == [str(tmp_path / "a.jpg"), "/photos/b.jpg", ""]


def test_the_files_of_two_people_meet(tmp_path: Path) -> None:
    ada, bob = tmp_path / "ada.csv", tmp_path / "bob.csv"
    append_corrections(ada, [corrected(A, "landmark", "Louvre", "2026-11-29T10:00:00Z")])
    append_corrections(ada, [corrected(B, "landmark", "Louvre", "2026-11-29T12:00:00Z")])
    # Bob's clock tells the time of another zone.
    append_corrections(bob, [corrected(A, "no_landmark", "", "2026-11-29T11:30:00+01:00")])
    append_corrections(bob, [corrected(B, "no_landmark", "", "2026-11-29T12:30:00+01:00")])
    for paths in ((ada, bob), (bob, ada)):
        decisions = {sha256: row.decision for sha256, row in read_corrections(*paths).items()}
        assert decisions == {A: "no_landmark", B: "landmark"}


def test_decisions_stand_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    for sha256, minute in ((A, 1), (B, 2), (A, 3)):
        append_corrections(path, [corrected(sha256, when=f"2026-11-29T10:0{minute}:00Z")])
    assert list(read_corrections(path)) == [B, A]


def test_a_photo_is_found_where_it_lies_here_though_another_machine_decided_last(
    tmp_path: Path,
) -> None:
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.touch()
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    earlier = corrected(A, when="2026-11-29T10:00:00Z")._replace(path="photos/a.jpg")
    append_corrections(here, [earlier])
    later = corrected(A, "landmark", "Louvre", "2026-11-29T11:00:00Z")
    append_corrections(there, [later._replace(path="/elsewhere/a.jpg")])
    joined = tmp_path / "joined.csv"
    joined.write_bytes(here.read_bytes() + there.read_bytes())
    for paths in ([here, there], [joined]):
        (row,) = read_corrections(*paths).values()
        assert (row.right, row.path) == ("Louvre", str(photo))
    append_corrections(joined, [corrected(B)])
    assert set(read_corrections(joined)) == {A, B}


@pytest.mark.parametrize("cut", range(1, len(ROW.encode()) - 30, 7))
def test_a_row_that_was_cut_off_is_skipped_and_then_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    path = tmp_path / "corrections.csv"
    append_corrections(path, [corrected(B)])
    path.write_bytes(path.read_bytes() + ROW.encode()[:cut])
    assert set(read_corrections(path)) == {B}
    assert "cut off" in caplog.text
    append_corrections(path, [corrected(C)])
    caplog.clear()
    assert set(read_corrections(path)) == {B, C}
    assert not caplog.records


def test_letters_and_first_lines_may_be_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    for left in (b"", HEADER.encode()[:10], HEADER.encode()[:-1], HEADER.encode() + b"\xc3"):
        path.write_bytes(left)
        assert read_corrections(path) == {}
        append_corrections(path, [corrected(A)])
        assert set(read_corrections(path)) == {A}
        assert path.read_text().count("sha256") == 1


def test_editors_may_leave_out_the_last_end_of_line(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(f"\ufeff{HEADER}{ROW}".replace("\n", "\r\n"))
    append_corrections(path, [corrected(B)])
    assert set(read_corrections(path)) == {A, B}


def test_a_row_is_one_line_whatever_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    typed = corrected(A, "landmark", "Notre\nDame")._replace(path="caf\udce9.jpg")
    append_corrections(path, [typed])
    assert read_corrections(path)[A].right == "Notre Dame"
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"path,label\na.jpg,Louvre\n", "its columns are path,label"),
        (b"hello", "its columns are hello"),
        ((HEADER + ROW).encode("utf-16"), "not in UTF-8"),
        (f"{HEADER}{ROW}\n".replace("Louvre", "Orl\u00e9ans").encode("latin-1"), "not in UTF-8"),
        (HEADER.replace(",", ";").encode(), "its columns are sha256;path"),
        (f"{HEADER}{ROW},more\n".encode(), "line 2 has 8 values"),
        (f"{HEADER}{ROW}\n".replace("landmark", "perhaps").encode(), "'perhaps'; choose one of"),
        (f"{HEADER}{ROW}\n".replace("Louvre", "").encode(), "needs the landmark's name"),
        (f"{HEADER}{ROW}\n".replace("2026-11-29T", "29.11.26 ").encode(), "isoformat"),
        (f"{HEADER}{ROW}\n".replace(A, "12ab").encode(), "64 hexadecimal digits"),
    ],
)
def test_other_files_are_refused_and_left_as_they_are(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "corrections.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_corrections(path)
    with pytest.raises(ValueError, match=said):
        append_corrections(path, [corrected(A)])
    assert path.read_bytes() == content


def test_a_decision_that_cannot_be_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    with pytest.raises(ValueError, match="choose one of"):
        append_corrections(path, [corrected(A), corrected(B, "maybe")])
    with pytest.raises(ValueError, match="cannot be read"):
        read_corrections(path)


def _append(path: Path, letter: str) -> None:
    for number in range(20):
        append_corrections(path, [corrected(f"{letter}{number:02}".ljust(64, "0"))])


def test_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20)
    assert len(read_corrections(path)) == 40
