"""Downloads are resumed, checked and complete or absent, against a server on this machine."""

from __future__ import annotations

import hashlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest

from landmark_ml.data import download as download_module
from landmark_ml.data.download import DownloadError, download
from tests.scripted_server import BODY, CUT, Script, make_handler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server(NamedTuple):
    url: str
    script: Script


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACKOFF_SECONDS", 0.0)
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
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert download(server.url, target, sha256=sha256) == target
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
        once.setattr(download_module, "ATTEMPTS", 1)
        with pytest.raises(DownloadError, match=r"data\.zip in 1 attempts"):
            download(server.url, tmp_path / "data.zip")
    assert leftovers(tmp_path) == ["data.zip.part", "data.zip.part.etag"]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked[-1] == f"bytes={CUT}-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(b"old" * 100)
    (tmp_path / "data.zip.part.etag").write_text('"v0"', encoding="utf-8")
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == ["bytes=300-"]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_nothing_is_continued(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.script.etag = etag
    server.script.cuts = [CUT]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == [None, None]


@pytest.mark.parametrize("lacking", [{"ranges": False}, {"wrong_start": True}])
def test_a_server_that_cannot_continue_starts_over(
    server: Server, tmp_path: Path, lacking: dict[str, bool]
) -> None:
    for name, value in lacking.items():
        setattr(server.script, name, value)
    server.script.cuts = [CUT]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert leftovers(tmp_path) == ["data.zip"]


def test_a_refused_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.script.cuts = [CUT]
    server.script.statuses = [200, 416]
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == [None, f"bytes={CUT}-", None]


def test_a_part_that_was_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(BODY)
    (tmp_path / "data.zip.part.etag").write_text('"v1"', encoding="utf-8")
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY
    assert server.script.asked == [f"bytes={len(BODY)}-"]


def test_an_unknown_length_is_accepted(server: Server, tmp_path: Path) -> None:
    server.script.content_length = False
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == BODY


def test_a_body_always_cut_short_fails_after_bounded_attempts(
    server: Server, tmp_path: Path
) -> None:
    server.script.ranges = False
    server.script.cuts = [1000] * 100
    with pytest.raises(DownloadError, match=r"data\.zip in 5 attempts: the connection broke"):
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
    with pytest.raises(DownloadError, match=rf"{server.url} answered {status} .*check the address"):
        download(server.url, tmp_path / "data.zip")
    assert len(server.script.asked) == 1


def test_other_content_than_expected_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{'0' * 64} was expected"):
        download(server.url, tmp_path / "data.zip", sha256="0" * 64)
    assert leftovers(tmp_path) == []


def test_a_file_in_place_with_other_content_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"old")
    download(server.url, tmp_path / "data.zip", sha256=hashlib.sha256(BODY).hexdigest())
    assert (tmp_path / "data.zip").read_bytes() == BODY


def test_a_disk_too_small_is_said_before_writing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=10))
    with pytest.raises(DownloadError, match="10 bytes free and 1,048,576 are needed"):
        download(server.url, tmp_path / "data.zip")
    assert leftovers(tmp_path) == []


def test_a_failing_disk_names_file_address_and_fix(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").mkdir()
    with pytest.raises(DownloadError, match=rf"could not write .*part.*{server.url}.*free some"):
        download(server.url, tmp_path / "data.zip")


def test_no_server_names_address_and_fix(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        url = f"http://127.0.0.1:{http.server_address[1]}/data.zip"
    with pytest.raises(DownloadError, match=f"{url} in 5 attempts: .*check the network"):
        download(url, tmp_path / "data.zip")


@pytest.mark.parametrize("url", ["data.zip", "ftp://127.0.0.1/data.zip", "http://", "file:///x"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not an http or https address"):
        download(url, tmp_path / "data.zip")
