"""Archives are unpacked whole and inside their folder, or not at all."""

from __future__ import annotations

import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from landmark_ml.data import archives
from landmark_ml.data.archives import ArchiveError, unpack_zip

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make_zip(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def assert_refused(archive: Path, message: str) -> None:
    folder = archive.parent / "out" / "data"
    with pytest.raises(ArchiveError, match=message):
        unpack_zip(archive, folder)
    assert not folder.exists()
    outside = [path for path in archive.parent.rglob("*") if path not in (archive, folder.parent)]
    assert outside == []


def test_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    entries = {"a/": b"", "a/one.txt": b"one", "a/b/two.txt": b"two", "three.txt": b""}
    archive = make_zip(tmp_path / "good.zip", entries)
    folder = unpack_zip(archive, tmp_path / "new" / "out")
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {name: data for name, data in entries.items() if not name.endswith("/")}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:/evil.txt", "..\\evil.txt"]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "evil.zip", {"good.txt": b"good", name: b"evil"})
    assert_refused(archive, "points outside")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a/one.txt", "a/one.txt"), ("a", "a/one.txt"), ("a/one.txt", "a")]
)
def test_a_doubled_entry_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "doubled.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"photo")
    assert_refused(tmp_path / "doubled.zip", f"entry '{names[1]}' is there twice")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_is_refused_whatever_packed_it(tmp_path: Path, method: int) -> None:
    noise = np.random.default_rng(0).bytes(4000)
    archive = make_zip(tmp_path / "damaged.zip", {"photo": noise}, method)
    data = bytearray(archive.read_bytes())
    data[44:2000] = bytes(2000 - 44)
    archive.write_bytes(data)
    assert_refused(archive, "is damaged")


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert_refused(tmp_path / "link.zip", "'link' is a link or device")


def test_a_bomb_in_one_entry_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(3_000_000)})
    assert_refused(archive, "zip bomb")


def test_small_compressible_files_are_no_bomb(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "zeros.zip", {"zeros": bytes(100_000)})
    assert (unpack_zip(archive, tmp_path / "out") / "zeros").stat().st_size == 100_000


def test_too_many_bytes_or_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "big.zip", {"a": bytes(600), "b": bytes(600)})
    with monkeypatch.context() as small:
        small.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
        assert_refused(archive, "unpacks to 1,200 bytes")
    monkeypatch.setattr(archives, "MAX_FILES", 1)
    assert_refused(archive, "holds 2 entries")


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "secret.zip", {"a.txt": b"secret"}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for at in (6, directory + 8):
        struct.pack_into("<H", data, at, 1)
    archive.write_bytes(data)
    assert_refused(archive, "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_entry_is_refused(tmp_path: Path, method: int) -> None:
    digits = np.random.default_rng(0).bytes(5000).hex().encode()
    archive = make_zip(tmp_path / "damaged.zip", {"good": b"good", "digits": digits}, method)
    data = bytearray(archive.read_bytes())
    data[2000:2100] = bytes(range(100))
    archive.write_bytes(data)
    assert_refused(archive, "is damaged .*download it again")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\n<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"", "an empty file"),
        (b"Rar!\x1a\x07", "starts with b'Rar!"),
    ],
)
def test_what_came_instead_of_a_zip_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "odd.zip").write_bytes(content)
    assert_refused(tmp_path / "odd.zip", what)


def test_a_zip_cut_short_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "cut.zip", {"a": b"a" * 1000, "b": b"b"})
    archive.write_bytes(archive.read_bytes()[:60])
    assert_refused(archive, "a zip cut short")


def test_a_folder_in_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ArchiveError, match="already exists"):
        unpack_zip(make_zip(tmp_path / "good.zip", {"a": b"a"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
