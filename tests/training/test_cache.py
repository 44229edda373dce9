"""Rows on disk: computed once by content, shared by processes, never half written."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from landmark_ml.data import Photo
from landmark_ml.training import cache as cache_module
from landmark_ml.training.cache import CacheError, RowCache, StoredRows, load_served, load_squashed
from tests.colour_photos import write_colour
from tests.tiny_networks import SIDE as SERVED_SIDE
from tests.tiny_networks import tiny_preprocessing

SIDE = 4
SHAPE = (3, SIDE, SIDE)
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
def store(tmp_path: Path) -> RowCache:
    return RowCache(tmp_path, ".rgb")


def load(store: RowCache, decoder: Decoder, *numbers: int, key: str = "way") -> list[int]:
    """Numbers in the pixels of some photos; all pixels of a photo hold the same one."""
    found = store.load(photos(*numbers), key, SHAPE, np.uint8, decoder)
    return numbers_of(found)


def numbers_of(found: StoredRows) -> list[int]:
    pixels = found[torch.arange(len(found))]
    assert pixels.shape[1:] == (3, SIDE, SIDE)
    assert pixels.dtype == torch.uint8
    return [int(photo.unique()) for photo in pixels]


def files(store: RowCache) -> tuple[Path, Path]:
    return store.folder / "way.rgb", store.folder / "way.index"


def test_a_photo_is_decoded_once_among_any_others(store: RowCache) -> None:
    decoder = Decoder()
    assert load(store, decoder, 3, 1, 2) == [3, 1, 2]
    assert load(store, decoder, 2, 2, 4, 3) == [2, 2, 4, 3]
    assert decoder.decoded == [3, 1, 2, 4]
    assert load(store, decoder, 1, key="another") == [1]
    assert decoder.decoded == [3, 1, 2, 4, 1]


def test_the_same_content_under_two_names_is_one_row(store: RowCache) -> None:
    decoder, (photo,) = Decoder(), photos(7)
    twice = [photo, replace(photo, path=Path("copy.jpg"))]
    assert numbers_of(store.load(twice, "way", SHAPE, np.uint8, decoder)) == [7, 7]
    assert files(store)[0].stat().st_size == ROW


def test_pixels_stay_on_disk_and_a_batch_is_a_copy(store: RowCache) -> None:
    found = store.load(photos(1, 2, 3), "way", SHAPE, np.uint8, Decoder())
    batch = found[torch.tensor([2, 0])]
    assert [int(photo.unique()) for photo in batch] == [3, 1]
    batch.fill_(9)
    assert numbers_of(found) == [1, 2, 3]


class KilledError(Exception):
    """Stands in for the end of a process."""


def test_what_a_killed_process_had_decoded_is_kept(store: RowCache) -> None:
    class Killed(Decoder):
        def __call__(self, missing: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
            yield from super().__call__(missing[:3])
            raise KilledError

    with pytest.raises(KilledError):
        store.load(photos(1, 2, 3, 4), "way", SHAPE, np.uint8, Killed())
    decoder = Decoder()
    assert load(store, decoder, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert decoder.decoded == [4]


@pytest.mark.parametrize(("lost_pixels", "lost_index"), [(5, 0), (0, 5), (ROW + 5, 0), (0, 70)])
def test_a_half_written_end_is_decoded_again(
    lost_pixels: int, lost_index: int, store: RowCache
) -> None:
    load(store, Decoder(), 1, 2, 3, 4)
    for path, lost in zip(files(store), (lost_pixels, lost_index), strict=True):
        os.truncate(path, path.stat().st_size - lost)
    decoder = Decoder()
    assert load(store, decoder, 4, 3, 2, 1) == [4, 3, 2, 1]
    assert decoder.decoded
    assert set(decoder.decoded) <= {3, 4}


@pytest.mark.parametrize("which", ["rows", "lines", "one byte"])
def test_rows_that_are_not_what_was_computed_are_computed_again(
    which: str, store: RowCache, caplog: pytest.LogCaptureFixture
) -> None:
    load(store, Decoder(), 1, 2, 3)
    rows, index = files(store)
    if which == "rows":
        content = rows.read_bytes()
        rows.write_bytes(content[ROW : 2 * ROW] + content[:ROW] + content[2 * ROW :])
    elif which == "lines":
        one, two, three = index.read_text().splitlines()
        index.write_text(f"{two[:64]}{one[64:]}\n{one[:64]}{two[64:]}\n{three}\n")
    else:
        content = rows.read_bytes()
        rows.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    decoder = Decoder()
    assert load(store, decoder, 1, 2, 3) == [1, 2, 3]
    assert decoder.decoded == ([1] if which == "one byte" else [1, 2])
    assert f"{rows} is damaged: {len(decoder.decoded)} rows" in caplog.text
    assert load(store, decoder, 3, 2, 1) == [3, 2, 1]
    assert len(decoder.decoded) == (1 if which == "one byte" else 2)


def test_rows_that_nobody_has_touched_are_not_read_again(store: RowCache) -> None:
    load(store, Decoder(), 1, 2, 3)
    rows, index = files(store)
    times = rows.stat().st_mtime_ns
    assert index.stat().st_mtime_ns == times
    content = rows.read_bytes()
    rows.write_bytes(bytes([9] * ROW) + content[ROW:])
    os.utime(rows, ns=(times, times))
    # Only its time could have told.
    assert load(store, Decoder(), 1, 2, 3) == [9, 2, 3]
    os.utime(rows)
    assert load(store, Decoder(), 1, 2, 3) == [1, 2, 3]


def test_damage_is_found_by_those_who_ask_for_it_later(store: RowCache) -> None:
    load(store, Decoder(), 1, 2)
    rows, _ = files(store)
    rows.write_bytes(bytes([9] * ROW) + rows.read_bytes()[ROW:])
    for asked in ([2], [2], [1, 2]):
        assert load(store, Decoder(), *asked) == asked


def test_rows_of_some_photos_come_in_their_order(store: RowCache) -> None:
    found = store.load(photos(1, 2, 3), "some", SHAPE, np.uint8, Decoder())
    assert numbers_of(found.subset(torch.tensor([2, 0]))) == [3, 1]


def test_concurrent_callers_decode_every_photo_once(store: RowCache) -> None:
    decoder, together = Decoder(), threading.Barrier(4)

    def ask(first: int) -> list[int]:
        together.wait()
        return load(store, decoder, *range(first, first + 8))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, [0, 2, 4, 6]))
    assert found == [list(range(first, first + 8)) for first in (0, 2, 4, 6)]
    assert sorted(decoder.decoded) == list(range(14))


@pytest.mark.parametrize("taken", [0, 5])
def test_a_full_disk_is_a_clear_error_and_costs_no_row(
    taken: int, store: RowCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, Decoder(), 1, 2)

    def open_on_a_full_disk(path: Path, mode: str = "r", buffering: int = -1) -> IO[Any]:
        file: IO[Any] = path.open_before(mode, buffering)  # type: ignore[attr-defined]
        write = file.write

        def write_a_part(content: bytes) -> int:
            if not taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(content[:taken])

        if "+" in mode:
            file.write = write_a_part  # type: ignore[method-assign, assignment]
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open_before", Path.open, raising=False)
        patch.setattr(Path, "open", open_on_a_full_disk)
        with pytest.raises(CacheError, match=r"from 3 photos .*No space left .*; free"):
            load(store, Decoder(), 1, 3, 4, 5)
    decoder = Decoder()
    assert load(store, decoder, 2, 1, 3) == [2, 1, 3]
    assert decoder.decoded == [3]


def test_a_photo_that_is_gone_is_not_taken_for_a_full_disk(store: RowCache) -> None:
    def read(missing: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((3, SIDE, SIDE), np.uint8)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(missing[1].path))

    with pytest.raises(FileNotFoundError, match=r"2\.jpg"):
        store.load(photos(1, 2), "way", SHAPE, np.uint8, read)


def test_the_log_says_what_was_decoded_and_how_large_it_is(
    store: RowCache, caplog: pytest.LogCaptureFixture
) -> None:
    load(store, Decoder(), 1)
    with caplog.at_level(logging.INFO):
        load(store, Decoder(), 1, 2, 3)
    assert "2 of 3 photos computed and kept in" in caplog.text
    assert "(0 MB)" in caplog.text


ALL = torch.arange(3)


def three_photos(folder: Path) -> list[Photo]:
    sizes = [(40, 20), (30, 30), (20, 50)]
    return [write_colour(folder / f"{i}.png", i, seed=i, size=size) for i, size in enumerate(sizes)]


def test_squashed_photos_come_in_order_with_their_proportions(tmp_path: Path) -> None:
    squares, aspects = load_squashed(three_photos(tmp_path), 24, tmp_path / "cache")
    pixels = squares[ALL]
    assert pixels.shape == (3, 3, 24, 24)
    assert pixels.dtype == torch.uint8
    assert aspects.tolist() == [2.0, 1.0, torch.tensor(0.4).item()]
    # The photos are red, green and blue.
    assert pixels.float().mean(dim=(2, 3)).argmax(dim=1).tolist() == [0, 1, 2]


def test_served_photos_are_those_of_the_preprocessing(tmp_path: Path) -> None:
    three, preprocessing = three_photos(tmp_path), tiny_preprocessing("crop")
    pixels = load_served(three, preprocessing, tmp_path / "cache")[ALL]
    assert pixels.shape == (3, 3, SERVED_SIDE, SERVED_SIDE)
    for photo, loaded in zip(three, pixels, strict=True):
        expected = torch.from_numpy(preprocessing.read(photo.path).copy())
        assert torch.equal(loaded.permute(1, 2, 0), expected)


def test_each_way_from_photo_to_pixels_is_stored_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three, cache = three_photos(tmp_path), tmp_path / "cache"

    def files() -> int:
        return len(list((tmp_path / "cache" / "pixels").glob("*.rgb")))

    for framing in ("crop", "squash", "crop"):
        load_served(three, tiny_preprocessing(framing), cache)
    assert files() == 2
    for side in (24, 20):
        load_squashed(three, side, cache)
    assert files() == 4
    monkeypatch.setattr(cache_module, "PIXELS_VERSION", 99)
    load_squashed(three, 24, cache)
    assert files() == 5
