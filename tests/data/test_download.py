"""Downloads are resumed, archives unpacked inside their folder; both whole or not at all."""

from __future__ import annotations

import re
import struct
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from landmark_ml.data import download as downloads
from landmark_ml.data.download import DownloadError, download, unpack_zip
from tests.scripted_server import BODY, CUT, Script, make_handler


class Server(NamedTuple):
    url: str
    script: Script


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    script = Script()
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(script)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(f"http://127.0.0.1:{http.server_address[1]}/data.zip", script)
        http.shutdown()
        thread.join()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_is_fetched_once(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "data.zip"
    assert download(server.url, target) == target
    assert target.read_bytes() == BODY
    assert leftovers(target.parent) == ["data.zip"]
    download(server.url, target)
    assert server.script.asked == [None]


def test_a_cut_transfer_is_continued_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.script.cuts = [CUT, CUT]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]


def test_a_later_run_continues_an_earlier_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script.cuts = [CUT]
    with monkeypatch.context() as once:
        once.setattr(downloads, "ATTEMPTS", 1)
        with pytest.raises(DownloadError, match=r"data\.zip to .*continues where it stopped"):
            download(server.url, tmp_path / "data.zip")
    assert leftovers(tmp_path) == ["data.zip.etag", "data.zip.part"]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked[-1] == f"bytes={CUT}-"
    assert leftovers(tmp_path) == ["data.zip"]


def test_another_version_on_the_server_is_not_mixed_in(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script.cuts = [CUT]
    with monkeypatch.context() as once:
        once.setattr(downloads, "ATTEMPTS", 1)
        with pytest.raises(DownloadError):
            download(server.url, tmp_path / "data.zip")
    server.script.etag, server.script.body = '"v2"', BODY[::-1]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY[::-1]


def test_a_part_that_was_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(BODY)
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == [f"bytes={len(BODY)}-"]


def test_an_unknown_length_is_accepted(server: Server, tmp_path: Path) -> None:
    server.script.content_length = False
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY


def test_a_server_that_cannot_continue_starts_over(server: Server, tmp_path: Path) -> None:
    server.script.ranges = False
    server.script.cuts = [CUT]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert leftovers(tmp_path) == ["data.zip"]


def test_a_body_always_cut_short_fails_after_bounded_attempts(
    server: Server, tmp_path: Path
) -> None:
    server.script.ranges = False
    server.script.cuts = [1000] * 100
    with pytest.raises(DownloadError, match=r"data\.zip to .*Connection broken"):
        download(server.url, tmp_path / "data.zip")
    assert len(server.script.asked) == 5
    assert not (tmp_path / "data.zip").exists()


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.script.statuses = [503, 429]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404])
def test_a_wrong_address_fails_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.script.statuses = [status]
    with pytest.raises(DownloadError, match=rf"{server.url} to .*: {status} .*check the address"):
        download(server.url, tmp_path / "data.zip")
    assert len(server.script.asked) == 1


def test_a_failing_disk_names_file_address_and_fix(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").mkdir()
    with pytest.raises(DownloadError, match=rf"download {server.url} to .*part.*free disk space"):
        download(server.url, tmp_path / "data.zip")


def test_no_server_names_address_and_fix(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        url = f"http://127.0.0.1:{http.server_address[1]}/data.zip"
    with pytest.raises(DownloadError, match=f"{url} to .*check the address, the network"):
        download(url, tmp_path / "data.zip")


def make_zip(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def assert_refused(archive: Path, message: str) -> None:
    folder = archive.parent / "out" / "data"
    with pytest.raises(match=message):
        unpack_zip(archive, folder)
    assert not folder.exists()
    # The archive is removed too, so that the next run fetches it again.
    assert list(archive.parent.rglob("*")) == [folder.parent]


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


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "evil.zip", {"good.txt": b"good", name: b"evil"})
    folder = unpack_zip(archive, tmp_path / "new" / "out")
    found = list(tmp_path.rglob("evil.txt"))
    assert len(found) == 1
    assert folder in found[0].parents


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "odd.zip", {"a": b"photo", "a/one.txt": b"photo"})
    assert_refused(archive, "could not be unpacked")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_entry_is_refused_whatever_packed_it(tmp_path: Path, method: int) -> None:
    noise = np.random.default_rng(0).bytes(4000)
    archive = make_zip(tmp_path / "damaged.zip", {"good": b"good", "photo": noise}, method)
    data = bytearray(archive.read_bytes())
    data[200:2000] = bytes(1800)
    archive.write_bytes(data)
    assert_refused(archive, "could not be unpacked .*is removed.* run again")


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "secret.zip", {"a.txt": b"secret"}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for at in (6, directory + 8):
        struct.pack_into("<H", data, at, 1)
    archive.write_bytes(data)
    assert_refused(archive, "'a.txt'.* is encrypted, password required")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"", b"PK\x03\x04cut"])
def test_what_came_instead_of_a_zip_is_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.zip").write_bytes(content)
    assert_refused(
        tmp_path / "odd.zip", re.escape(f"starts with {content!r}) and is removed: check")
    )
