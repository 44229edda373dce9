"""Files replaced as a whole: the new one keeps the mode and the owner of the old one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark_ml.files import whole_file, write_whole

posix = pytest.mark.skipif(os.name != "posix", reason="no modes and owners here")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("wanted", [0o600, 0o664, 0o440])
@pytest.mark.parametrize("flush", [True, False])
def test_a_file_that_is_replaced_keeps_its_mode(path: Path, wanted: int, flush: bool) -> None:
    path.chmod(wanted)
    with whole_file(path, flush=flush) as scratch:
        scratch.write_bytes(b"after")
    assert (path.read_bytes(), mode(path)) == (b"after", wanted)


@posix
def test_a_private_file_stays_private_while_it_is_written(path: Path) -> None:
    path.chmod(0o600)
    path.with_name("scratch").write_bytes(b"left by a killed process")
    with whole_file(path, "scratch") as scratch:
        scratch.write_bytes(b"after")
        assert mode(scratch) == 0o600
    assert path.read_bytes() == b"after"


@posix
def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", b"content")
    assert mode(tmp_path / "new") == 0o644


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root alone gives files away")
def test_another_users_file_stays_theirs(path: Path) -> None:
    os.chown(path, 12345, 23456)
    write_whole(path, b"after")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@posix
def test_a_file_whose_owner_cannot_be_kept_is_still_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path.chmod(0o640)
    monkeypatch.setattr(os, "chown", refuse)
    write_whole(path, b"after")
    assert (path.read_bytes(), mode(path)) == (b"after", 0o640)


def test_a_block_that_raises_leaves_the_file_and_nothing_beside_it(path: Path) -> None:
    def write_half() -> None:
        with whole_file(path) as scratch:
            scratch.write_bytes(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_reported_with_the_file(path: Path) -> None:
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"), whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
