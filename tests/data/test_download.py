"""Archives are unpacked inside their folder, which appears whole or not at all."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_ml.data.download import fetch_archive

ENTRIES = {"a/": b"", "a/one.txt": b"one", "a/b/two.txt": b"two", "three.txt": b""}


class Archive:
    """What the server sends: its status, its bytes, and how many it promises."""

    def __init__(self) -> None:
        self.status, self.body, self.promised = 200, zipped(ENTRIES), 0


def zipped(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def sent() -> Archive:
    return Archive()


@pytest.fixture
def url(sent: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(sent.status)
            self.send_header("Content-Length", str(sent.promised or len(sent.body)))
            self.end_headers()
            self.wfile.write(sent.body)

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/data.zip"
        http.shutdown()
        thread.join()


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def assert_refused(url: str, folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{url} could not be .*{message}.* run again, or"):
        fetch_archive(url, folder / "out")
    assert list(folder.iterdir()) == []


def test_files_and_folders_are_unpacked(url: str, tmp_path: Path) -> None:
    fetch_archive(url, tmp_path / "out")
    expected = {name: data for name, data in ENTRIES.items() if not name.endswith("/")}
    assert files(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_wrong_address_is_named(url: str, sent: Archive, tmp_path: Path, status: int) -> None:
    sent.status = status
    assert_refused(url, tmp_path, str(status))


def test_a_body_cut_short_is_refused(url: str, sent: Archive, tmp_path: Path) -> None:
    sent.promised = len(sent.body) + 1000
    assert_refused(url, tmp_path, "1000 more expected")


def test_no_server_names_address_and_fix(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        url = f"http://127.0.0.1:{http.server_address[1]}/data.zip"
    assert_refused(url, tmp_path, "check the address, the network")


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt"])
def test_nothing_is_written_outside_the_folder(
    url: str, sent: Archive, tmp_path: Path, name: str
) -> None:
    sent.body = zipped({"good.txt": b"good", name: b"evil"})
    fetch_archive(url, tmp_path / "out")
    (found,) = tmp_path.rglob("evil.txt")
    assert tmp_path / "out" in found.parents


def test_a_file_that_is_also_a_folder_is_refused(url: str, sent: Archive, tmp_path: Path) -> None:
    sent.body = zipped({"a": b"photo", "a/one.txt": b"photo"})
    assert_refused(url, tmp_path, "")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_entry_is_refused_whatever_packed_it(
    url: str, sent: Archive, tmp_path: Path, method: int
) -> None:
    noise = np.random.default_rng(0).bytes(4000)
    data = bytearray(zipped({"good": b"good", "photo": noise}, method))
    data[200:2000] = bytes(1800)
    sent.body = bytes(data)
    assert_refused(url, tmp_path, "")


def test_an_encrypted_entry_is_refused(url: str, sent: Archive, tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": b"secret"}, zipfile.ZIP_STORED))
    directory = data.index(b"PK\x01\x02")
    for at in (6, directory + 8):
        struct.pack_into("<H", data, at, 1)
    sent.body = bytes(data)
    assert_refused(url, tmp_path, "'a.txt'.* is encrypted, password required")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"", b"PK\x03\x04cut"])
def test_what_came_instead_of_a_zip_is_refused(
    url: str, sent: Archive, tmp_path: Path, content: bytes
) -> None:
    sent.body = content
    assert_refused(url, tmp_path, "File is not a zip file")
