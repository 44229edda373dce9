"""Photos that a table names by address are copied once, and each that fails is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import read_manifest, stores, write_manifest
from landmark_ml.data.dataset import Dataset
from landmark_ml.data.opening import open_dataset
from tests.photo_folders import write_class, write_photo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the table; the cache is in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> str:
    """Address of twenty photos."""
    write_class(folder / "photos", range(20))
    root = f"memory://{uuid.uuid4().hex}"
    for path in (folder / "photos").iterdir():
        fsspec.filesystem("memory").pipe(f"{root}/all/{path.name}", path.read_bytes())
    return root


def open_table(paths: list[str], **options: object) -> Dataset:
    """The dataset of a table that gives photos to two landmarks in turn."""
    labels = ["Old Mill" if number % 2 else "Eiffel Tower" for number in range(len(paths))]
    pd.DataFrame({"path": paths, "label": labels}).to_csv("mine.csv", index=False)
    return open_dataset(DataConfig(data="mine.csv", **options))  # type: ignore[arg-type]


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    copies = [path for path in (folder / ".cache" / "stores").rglob("*") if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in copies}


def test_photos_of_a_store_are_as_those_beside_the_table(store: str, folder: Path) -> None:
    names = [f"{seed}.jpg" for seed in range(20)]
    here = open_table([f"photos/{name}" for name in names])
    mixed = [f"{store}/all/{name}" for name in names[:15]] + [f"photos/{n}" for n in names[15:]]
    there = open_table(mixed)
    assert sorted((photo.sha256, photo.label) for photo in there.photos) == sorted(
        (photo.sha256, photo.label) for photo in here.photos
    )
    copies = states(folder)
    bucket = folder / ".cache" / "stores" / "memory" / store.removeprefix("memory://")
    assert set(copies) == {bucket / "all" / name for name in names[:15]}
    write_manifest(there, folder / "manifest.json")
    assert store.removeprefix("memory://") in (folder / "manifest.json").read_text()
    assert read_manifest(folder / "manifest.json", folder, verify=True).photos == there.photos


def test_only_changed_and_damaged_copies_are_fetched_again(store: str, folder: Path) -> None:
    paths = [f"{store}/all/{seed}.jpg" for seed in range(20)]
    first = open_table(paths)
    before = states(folder)
    assert open_table(paths) == first
    assert states(folder) == before
    changed, cut = (path for path in sorted(before)[:2])
    cut.write_bytes(cut.read_bytes()[:300])
    new = write_photo(folder / "new.jpg", 99).read_bytes()
    fsspec.filesystem("memory").pipe(f"{store}/all/{changed.name}", new)
    second = open_table(paths)
    assert changed.read_bytes() == new
    assert len(second.photos) == 20
    differ = {path for path, state in states(folder).items() if before[path] != state}
    assert differ == {changed, cut}


def test_a_missing_photo_of_a_store_is_counted(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [f"{store}/all/{seed}.jpg" for seed in range(21)]
    dataset = open_table(paths)
    assert len(dataset.photos) == 20
    assert f"{paths[20]} was not fetched: it is not there, or these credentials" in caplog.text
    with pytest.raises(ValueError, match=r"1 of 21 files .*20\.jpg was not fetched.*check add"):
        open_table(paths, max_unreadable=0.0)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("memory://bucket", "is no address of a photo; write s3://bucket/folder/photo.jpg"),
        ("memory://bucket/a/../../../b.jpg", "is no address of a photo"),
        ("memory://bucket//b.jpg", "is no address of a photo"),
        ("file:///etc/hosts", "is no address of a photo"),
        ("nowhere://bucket/b.jpg", "'nowhere://bucket' cannot be opened .*give s3://"),
    ],
)
def test_a_bad_address_is_refused(folder: Path, address: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        open_table([address] * 4)


def test_a_password_in_an_address_is_refused_and_not_repeated(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/b\.jpg' is no address") as caught:
        open_table(["s3://key:geheim@bucket/b.jpg"] * 4)
    assert "geheim" not in str(caught.value)


def test_a_disk_that_refuses_is_named(store: str, folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "stores").write_text("in the way", encoding="utf-8")
    with pytest.raises(ValueError, match=r"cannot be copied .*stores.*give another cache_dir"):
        open_table([f"{store}/all/{seed}.jpg" for seed in range(20)])


class Handler(BaseHTTPRequestHandler):
    """Gives photos. One with `secret` in its path is refused, one with `cut` ends early."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = Path("photos", Path(self.path).name)
        content, secret = path.read_bytes(), "secret" in self.path
        self.send_response(403 if secret else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.end_headers()
        if self.command == "GET" and not secret:
            self.wfile.write(content[:100] if "cut" in self.path else content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a web server, which is also an object store of S3."""
    write_class(folder / "photos", range(20))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "made up")
        yield address
        server.shutdown()


def test_photos_of_the_web_and_half_a_download(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_table([f"{server}/{'cut/' * (seed == 7)}{seed}.jpg" for seed in range(20)])
    assert len(dataset.photos) == 19
    assert f"{server}/cut/7.jpg was not fetched: " in caplog.text


@pytest.mark.parametrize("service", ["http", "s3"])
def test_a_store_that_wants_credentials_ends_it_early(
    server: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "BATCH", 8)
    root = server if service == "http" else "s3:/"
    sentence = "ACCESS_DENIED" if service == "s3" else "these credentials may not read it"
    with pytest.raises(ValueError, match=f"first 8 photos all failed.*{sentence}.*check addr"):
        open_table([f"{root}/secret/{seed}.jpg" for seed in range(20)])


def test_a_photo_of_another_time_is_fetched_again(server: str, folder: Path) -> None:
    paths = [f"s3://bucket/{seed}.jpg" for seed in range(20)]
    first = open_table(paths)
    assert len(first.photos) == 20
    before = states(folder)
    os.utime(folder / "photos" / "3.jpg", (10**9, 10**9))
    assert open_table(paths) == first
    (changed,) = [path for path, state in states(folder).items() if before[path] != state]
    assert (changed.name, changed.stat().st_mtime) == ("3.jpg", 10**9)


def test_a_killed_process_keeps_the_copies_that_it_made(server: str, folder: Path) -> None:
    paths = [f"{server}/{seed}.jpg" for seed in range(20)]
    code = (
        "import sys, time; from pathlib import Path; from landmark_ml.data import stores;"
        "from landmark_ml.data.folders import ListedFile; stores.AT_ONCE = 1;"
        "write = stores.whole_file; path = lambda a: stores.copy_of(a, Path('.cache'));"
        "stores.whole_file = lambda *args, **kind: time.sleep(0.1) or write(*args, **kind);"
        "files = [ListedFile(path(a), 0, None, address=a) for a in sys.argv[1:]];"
        "stores.fetch_photos(files)"
    )
    command = [sys.executable, "-c", code, *paths]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own interpreter
        while len(states(folder)) < 3 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = states(folder)
    assert 3 <= len(before) < 20
    # As a process leaves it that is killed while it writes.
    half = next(iter(before)).parent / ".19.jpg.123.tmp"
    half.write_bytes(b"half")
    assert len(open_table(paths).photos) == 20
    assert before.items() <= states(folder).items()
