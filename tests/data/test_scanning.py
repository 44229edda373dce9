"""What is recorded of a photo is from one reading of its file."""

from __future__ import annotations

import builtins
import hashlib
import io
from typing import TYPE_CHECKING

from landmark_ml.data.folders import ListedFile
from landmark_ml.data.scanning import scan_files
from landmark_ml.inference.photos import DEFAULT_LIMITS
from tests.photo_folders import write_photo

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_photo(tmp_path / "photo.jpg", 1)
    opened = []
    open_file = open

    def count(file: object, *args: object, **options: object) -> object:
        opened.append(file)
        return open_file(file, *args, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", count)
        patch.setattr(io, "open", count)
        photos, _ = scan_files([ListedFile(path, 0, None)], threads=1)
    assert opened.count(path) == 1
    assert photos[0].photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_empty_files_and_files_too_large_have_codes_of_their_own(tmp_path: Path) -> None:
    empty, huge = tmp_path / "empty.jpg", tmp_path / "huge.jpg"
    empty.touch()
    with huge.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.max_bytes + 1)
    listed = [ListedFile(path, 0, None) for path in (empty, huge, tmp_path / "gone.jpg")]
    _, unreadable = scan_files(listed)
    assert [file.code for file in unreadable] == ["empty", "too_many_bytes", "unreadable"]
