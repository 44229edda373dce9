"""Pixels on disk: decoded once by content, shared by processes, never half written."""

from __future__ import annotations

import errno
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest
import torch

from landmark_ml.data import Photo
from landmark_ml.training import pixel_cache as pixel_store
from landmark_ml.training.pixel_cache import PixelStore, PixelStoreError, StoredPixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIDE = 4
ROW = 3 * SIDE * SIDE


def photos(*numbers: int) -> list[Photo]:
    return [Photo(Path(f"{n}.jpg"), 0, f"{n:064x}", 8, 8) for n in numbers]


@dataclass
class Decoder:
    """Fills the pixels of a photo with the number in its hash, and remembers which it was asked."""

    decoded: list[int] = field(default_factory=list)

    def __call__(self, missing: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
        for photo in missing:
            number = int(photo.sha256, 16)
            self.decoded.append(number)
            yield np.full((3, SIDE, SIDE), number, np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> PixelStore:
    return PixelStore(tmp_path)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_store, "_AT_ONCE", 2)


def load(store: PixelStore, decoder: Decoder, *numbers: int, key: str = "way") -> list[int]:
    """Numbers in the pixels of some photos; all pixels of a photo hold the same one."""
    found = store.load(photos(*numbers), SIDE, key, decoder)
    return numbers_of(found)


def numbers_of(found: StoredPixels) -> list[int]:
    pixels = found[torch.arange(len(found))]
    assert pixels.shape[1:] == (3, SIDE, SIDE)
    assert pixels.dtype == torch.uint8
    return [int(photo.unique()) for photo in pixels]


def files(store: PixelStore) -> tuple[Path, Path]:
    return store.cache / "pixels" / "way.rgb", store.cache / "pixels" / "way.sha256"


def test_a_photo_is_decoded_once_whatever_it_stands_beside(store: PixelStore) -> None:
    decoder = Decoder()
    assert load(store, decoder, 3, 1, 2) == [3, 1, 2]
    assert load(store, decoder, 2, 2, 4, 3) == [2, 2, 4, 3]
    assert decoder.decoded == [3, 1, 2, 4]
    assert load(store, decoder, 1, key="another") == [1]
    assert decoder.decoded == [3, 1, 2, 4, 1]


def test_the_same_content_under_two_names_is_one_row(store: PixelStore) -> None:
    decoder, (photo,) = Decoder(), photos(7)
    twice = [photo, replace(photo, path=Path("copy.jpg"))]
    assert numbers_of(store.load(twice, SIDE, "way", decoder)) == [7, 7]
    assert files(store)[0].stat().st_size == ROW


def test_pixels_stay_on_disk_and_a_batch_is_a_copy(store: PixelStore) -> None:
    found = store.load(photos(1, 2, 3), SIDE, "way", Decoder())
    assert isinstance(found.mapped.base, np.memmap)
    batch = found[torch.tensor([2, 0])]
    assert [int(photo.unique()) for photo in batch] == [3, 1]
    batch.fill_(9)
    assert numbers_of(found) == [1, 2, 3]


class KilledError(Exception):
    """Stands in for the end of a process."""


def test_what_a_killed_process_had_decoded_is_kept(store: PixelStore) -> None:
    class Killed(Decoder):
        def __call__(self, missing: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
            yield from super().__call__(missing[:3])
            raise KilledError

    with pytest.raises(KilledError):
        store.load(photos(1, 2, 3, 4), SIDE, "way", Killed())
    decoder = Decoder()
    assert load(store, decoder, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert decoder.decoded == [3, 4]


@pytest.mark.parametrize(("lost_pixels", "lost_index"), [(5, 0), (0, 5), (ROW + 5, 0), (0, 70)])
def test_a_half_written_end_is_decoded_again(
    lost_pixels: int, lost_index: int, store: PixelStore
) -> None:
    load(store, Decoder(), 1, 2, 3, 4)
    for path, lost in zip(files(store), (lost_pixels, lost_index), strict=True):
        os.truncate(path, path.stat().st_size - lost)
    decoder = Decoder()
    assert load(store, decoder, 4, 3, 2, 1) == [4, 3, 2, 1]
    assert decoder.decoded
    assert set(decoder.decoded) <= {3, 4}


def test_those_who_ask_at_once_decode_every_photo_once(store: PixelStore) -> None:
    decoder, together = Decoder(), threading.Barrier(4)

    def ask(first: int) -> list[int]:
        together.wait()
        return load(store, decoder, *range(first, first + 8))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, [0, 2, 4, 6]))
    assert found == [list(range(first, first + 8)) for first in (0, 2, 4, 6)]
    assert sorted(decoder.decoded) == list(range(14))


def test_a_full_disk_is_a_clear_error_and_costs_no_row(
    store: PixelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, Decoder(), 1, 2)

    def disk_full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_full)
        with pytest.raises(PixelStoreError, match=r"pixels of 3 photos .*No space left .*; free"):
            load(store, Decoder(), 1, 3, 4, 5)
    decoder = Decoder()
    assert load(store, decoder, 2, 1, 3) == [2, 1, 3]
    assert decoder.decoded == [3]


def test_a_photo_that_is_gone_is_not_taken_for_a_full_disk(store: PixelStore) -> None:
    def read(missing: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((3, SIDE, SIDE), np.uint8)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(missing[1].path))

    with pytest.raises(FileNotFoundError, match=r"2\.jpg"):
        store.load(photos(1, 2), SIDE, "way", read)


def test_the_log_says_what_was_decoded_and_how_large_it_is(
    store: PixelStore, caplog: pytest.LogCaptureFixture
) -> None:
    load(store, Decoder(), 1)
    with caplog.at_level(logging.INFO):
        load(store, Decoder(), 1, 2, 3)
    assert "2 of 3 photos decoded anew" in caplog.text
    assert "way.rgb holds 0 MB" in caplog.text
