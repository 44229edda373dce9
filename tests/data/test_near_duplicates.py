"""Photos are read once; copies are found, other photos and empty pictures are not joined."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from landmark_ml.data import Dataset, Photo, near_duplicates, write_manifest
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.near_duplicates import (
    MAX_DISTANCE,
    MIN_AGREEMENT,
    Learned,
    group_near_duplicates,
    read_and_group,
)
from landmark_ml.data.scanning import FINGERPRINT_BYTES, fingerprint
from landmark_ml.inference.photos import DEFAULT_LIMITS
from tests.photo_folders import random_picture, write_photo


def photos_of(pictures: Sequence[Image.Image], prefix: str = "") -> list[Photo]:
    return [
        Photo(Path(f"{i}.jpg"), 0, f"{prefix}{i}", *picture.size, fingerprint(picture))
        for i, picture in enumerate(pictures)
    ]


def groups_of(pictures: Sequence[Image.Image]) -> list[int]:
    return [int(group) for group in group_near_duplicates(photos_of(pictures))]


def encode_again(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def crop(picture: Image.Image) -> Image.Image:
    x, y = picture.width * 3 // 100, picture.height * 3 // 100
    return picture.crop((x, y, picture.width - x, picture.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded again": encode_again,
    "half size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "squashed": lambda picture: picture.resize((224, 224)),
    "cropped": crop,
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "greyscale": lambda picture: picture.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_copies_join_their_photo_and_no_other(change: Callable[[Image.Image], Image.Image]) -> None:
    originals = [random_picture(seed, (400, 300)) for seed in range(20)]
    groups = groups_of([*originals, *map(change, originals)])
    assert groups[:20] == groups[20:]
    assert len(set(groups)) == 20


def test_same_content_joins_whatever_the_picture() -> None:
    photos = photos_of([random_picture(seed) for seed in range(3)])
    groups = group_near_duplicates([*photos[:2], replace(photos[2], sha256=photos[0].sha256)])
    assert groups[0] == groups[2]
    assert groups[0] != groups[1]


def test_empty_pictures_are_not_chained_into_one_group() -> None:
    noise = np.random.default_rng(0)
    skies = [
        Image.fromarray(np.clip(noise.normal(200 - i, 0.6, (64, 64, 3)), 0, 255).astype(np.uint8))
        for i in range(30)
    ]
    flat = [Image.new("RGB", (64, 64), (10 * i, 10 * i, 10 * i)) for i in range(20)]
    assert len(set(groups_of([*skies, *flat]))) == 50


def test_a_faint_mark_does_not_make_two_empty_pictures_one() -> None:
    pictures = []
    for grey in (100, 200):
        picture = Image.new("RGB", (64, 64), (grey, grey, grey))
        picture.paste((grey + 3, grey + 3, grey + 3), (30, 30, 34, 34))
        pictures.append(picture)
    first, second = groups_of(pictures)
    assert first != second


def test_one_shading_does_not_make_two_pictures_one() -> None:
    shade = np.repeat(np.linspace(40, 220, 64)[:, None], 64, axis=1)
    marks = np.random.default_rng(1).normal(0, 6, (2, 64, 64))
    pictures = [
        Image.fromarray(np.clip(shade + mark, 0, 255).astype(np.uint8)).convert("RGB")
        for mark in marks
    ]
    first, second = groups_of(pictures)
    assert first != second


def planted_prints(chance: np.random.Generator, count: int, planted: int) -> NDArray[np.uint8]:
    """Random fingerprints, and copies of the first of them with up to MAX_DISTANCE bits changed."""
    prints = chance.integers(0, 256, (count, FINGERPRINT_BYTES), dtype=np.uint8)
    copies = prints[:planted].copy()
    for row, distance in zip(copies, chance.integers(0, MAX_DISTANCE + 1, planted), strict=True):
        changed = np.zeros(256, dtype=np.uint8)
        changed[chance.permutation(256)[:distance]] = 1
        row[:32] ^= np.packbits(changed)
    return np.concatenate([prints, copies])


def groups_of_every_pair(prints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The groups by comparing every pair, one photo at a time."""
    bits, groups = np.unpackbits(prints[:, :32], axis=1), np.arange(len(prints))
    levels = np.stack([prints[:, 32:] >> 4, prints[:, 32:] & 15], axis=2).reshape(len(prints), -1)
    detail = (levels.astype(np.float32) - 8) / 2
    for row in range(len(prints)):
        near = np.flatnonzero((bits != bits[row]).sum(axis=1) <= MAX_DISTANCE)
        agreeing = near[(detail[near] * detail[row]).mean(axis=1) >= MIN_AGREEMENT]
        groups[np.isin(groups, groups[agreeing])] = groups[row]
    return groups


def photos_with(prints: NDArray[np.uint8]) -> list[Photo]:
    return [Photo(Path(), 0, str(row), 9, 9, bytes(each)) for row, each in enumerate(prints)]


def assert_same_groups(prints: NDArray[np.uint8]) -> None:
    found, every = group_near_duplicates(photos_with(prints)), groups_of_every_pair(prints)
    assert len(set(found)) == len(set(every)) == len(set(zip(found, every, strict=True)))


@pytest.mark.parametrize("all_pairs", [0, near_duplicates.ALL_PAIRS])
def test_the_groups_are_those_of_comparing_every_pair(
    monkeypatch: pytest.MonkeyPatch, all_pairs: int
) -> None:
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS", all_pairs)
    monkeypatch.setattr(near_duplicates, "BLOCK_PAIRS", 20_000)
    monkeypatch.setattr(near_duplicates, "CHECKED_PAIRS", 7)
    assert_same_groups(planted_prints(np.random.default_rng(0), count=1000, planted=200))


def test_copies_are_found_among_many_pictures_of_near_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prints = planted_prints(np.random.default_rng(1), count=800, planted=100)
    prints[:, :28] = 0
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS", 0)
    assert_same_groups(prints)


@pytest.mark.parametrize("all_pairs", [0, near_duplicates.ALL_PAIRS])
def test_photos_that_are_all_alike_are_joined_without_holding_all_their_pairs(
    monkeypatch: pytest.MonkeyPatch, all_pairs: int
) -> None:
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS", all_pairs)
    monkeypatch.setattr(near_duplicates, "BLOCK_PAIRS", 20_000)
    monkeypatch.setattr(near_duplicates, "CHECKED_PAIRS", 1000)
    prints = np.tile(planted_prints(np.random.default_rng(0), count=1, planted=0), (2000, 1))
    prints[:, :2] = np.arange(2000, dtype=np.uint16)[:, None].view(np.uint8)
    photos = photos_with(prints)
    tracemalloc.start()
    groups = group_near_duplicates(photos)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(groups)) == 1
    # All pairs would be 32 MB.
    assert peak < 16e6


@pytest.mark.skipif("LANDMARKS50" not in os.environ, reason="LANDMARKS50 names no folder")
def test_the_groups_of_landmarks50_are_those_of_comparing_every_pair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = sorted(Path(os.environ["LANDMARKS50"]).glob("*/*/*.jpg"))
    files = [ListedFile(path, 0, None) for path in paths]
    photos = [item.photo for item in read_and_group(files, tmp_path)[0]]
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS", 0)
    assert_same_groups(np.array([list(photo.fingerprint) for photo in photos], dtype=np.uint8))


def test_no_photos_make_no_groups() -> None:
    assert group_near_duplicates([]).shape == (0,)


def manifest_of(
    folder: Path, train: Sequence[Photo], test: Sequence[Photo] = (), kind: str = "json"
) -> Path:
    path = folder / f"manifest.{kind}"
    dataset = Dataset("photos", folder, ("Tower",), tuple(train), val=(), test=tuple(test))
    write_manifest(dataset, path)
    return path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_copy_of_a_learned_photo_is_learned_and_no_other(
    tmp_path: Path, change: Callable[[Image.Image], Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK_PAIRS", 100)
    # Few photos are compared with what was learned, of which the groups are not looked for.
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS", 20)
    monkeypatch.delattr(near_duplicates, "_near_hashes")
    pictures = [random_picture(seed, (400, 300)) for seed in range(20)]
    photos = photos_of(pictures)
    learned = Learned.of(manifest_of(tmp_path, photos[:12], photos[12:], kind="parquet"))
    assert learned
    # Copies have other bytes, so the picture alone tells.
    copies = photos_of([change(picture) for picture in pictures], prefix="copy")
    assert learned.photos_learned(copies).tolist() == [True] * 12 + [False] * 8
    assert learned.photos_learned([]).tolist() == []


def test_a_photo_takes_few_bytes_of_a_manifest(tmp_path: Path) -> None:
    photos = photos_of([random_picture(seed) for seed in range(20)])
    sizes = [
        manifest_of(tmp_path, [replace(photo, fingerprint=kept) for photo in photos]).stat().st_size
        for kept in (photos[0].fingerprint, b"")
    ]
    assert (sizes[0] - sizes[1]) / len(photos) < 450


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
        photos, _ = read_and_group([ListedFile(path, 0, None)], tmp_path, threads=1)
    assert opened.count(path) == 1
    assert photos[0].photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_empty_files_and_files_too_large_have_codes_of_their_own(tmp_path: Path) -> None:
    empty, huge = tmp_path / "empty.jpg", tmp_path / "huge.jpg"
    empty.touch()
    with huge.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.max_bytes + 1)
    listed = [ListedFile(path, 0, None) for path in (empty, huge, tmp_path / "gone.jpg")]
    _, unreadable = read_and_group(listed, tmp_path)
    assert [file.code for file in unreadable] == ["empty", "too_many_bytes", "unreadable"]
