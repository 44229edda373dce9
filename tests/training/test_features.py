"""Cached features: computed once for each content, view and backbone, and never half-written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from landmark_ml.data import Photo
from landmark_ml.inference import preprocessing as preprocessing_module
from landmark_ml.inference.photos import PhotoError, decode_photo
from landmark_ml.networks.create import LandmarkNetwork
from landmark_ml.training import cache as cache_module
from landmark_ml.training.cache import (
    CacheError,
    FileRows,
    PixelsToFeatures,
    compute_features,
)
from tests.colour_photos import write_colours
from tests.tiny_networks import (
    CPU,
    lay_traced,
    processor_of,
    small_config,
    tiny_model,
    tiny_preprocessing,
)

SHA256 = "0123456789abcdef" * 4


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return lay_traced(tmp_path / "cache")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    return write_colours(tmp_path / "photos", 3, (0, 1), seed=0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that were decoded, in any order."""
    names: list[str] = []

    def count(path: Path, **options: Any) -> Image.Image:
        names.append(path.name)
        return decode_photo(path, **options)

    monkeypatch.setattr(preprocessing_module, "decode_photo", count)
    return names


def computed(photos: tuple[Photo, ...], cache: Path, seed: int = 0) -> NDArray[np.float32]:
    config = small_config(cache_dir=str(cache))
    found = compute_features(tiny_model(seed=seed), photos, config, CPU)
    return found[torch.arange(len(photos))].numpy()


@pytest.fixture
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features by torch, for networks whose graph is not in the cache."""

    def create_extractor(model: LandmarkNetwork, *_: object) -> tuple[PixelsToFeatures, int, int]:
        @torch.no_grad()
        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            features: NDArray[np.float32] = (
                model.eval().features(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
            )
            return features

        return run, 2, 1

    monkeypatch.setattr(cache_module, "create_extractor", create_extractor)


def feature_files(cache: Path) -> list[Path]:
    return sorted((cache / "features").glob("*.f32"))


def test_features_are_those_of_the_network_in_the_order_of_the_photos(
    photos: tuple[Photo, ...], cache: Path
) -> None:
    found = computed(photos, cache)
    assert found.shape == (6, 8)
    assert found.dtype == np.float32
    model = tiny_model()
    pixels = np.stack([model.preprocessing.read(photo.path) for photo in photos])
    with torch.no_grad():
        expected = model.features(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert np.allclose(found, expected.numpy(), atol=1e-4)


def test_more_photos_than_a_batch_keep_their_order(tmp_path: Path, cache: Path) -> None:
    many = write_colours(tmp_path / "many", 35, (0, 2), seed=0)
    found = computed(many, cache)
    (alone,) = computed((many[40],), lay_traced(tmp_path / "fresh"))
    assert np.allclose(found[40], alone, atol=1e-5)
    assert len(np.unique(found, axis=0)) == 70


def test_known_photos_are_not_decoded_again(
    photos: tuple[Photo, ...], cache: Path, decoded: list[str]
) -> None:
    first = computed(photos, cache)
    assert len(decoded) == 6
    decoded.clear()
    assert np.array_equal(computed(photos[::-1], cache), first[::-1])
    assert decoded == []


def test_pixels_of_another_decoder_are_not_taken_for_those_of_this_one(
    photos: tuple[Photo, ...],
    cache: Path,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed(photos, cache)
    decoded.clear()
    monkeypatch.setattr("PIL.__version__", "99.0")
    computed(photos, cache)
    assert len(decoded) == len(photos)


def test_only_missing_photos_are_computed(
    photos: tuple[Photo, ...], cache: Path, decoded: list[str]
) -> None:
    computed(photos[:4], cache)
    decoded.clear()
    computed(photos, cache)
    assert sorted(decoded) == sorted(photo.path.name for photo in photos[4:])


def test_equal_files_are_computed_once(
    photos: tuple[Photo, ...], cache: Path, decoded: list[str]
) -> None:
    found = computed((photos[0], photos[0], photos[1]), cache)
    assert len(decoded) == 2
    assert np.array_equal(found[0], found[1])


def test_a_renamed_photo_keeps_its_features(
    photos: tuple[Photo, ...], cache: Path, decoded: list[str]
) -> None:
    before = computed(photos, cache)
    moved = photos[0].path.rename(photos[0].path.with_name("renamed.png"))
    renamed = (replace(photos[0], path=moved), *photos[1:])
    decoded.clear()
    assert np.array_equal(computed(renamed, cache), before)
    assert decoded == []
    fresh = lay_traced(cache / "fresh")
    assert np.allclose(computed(renamed, fresh), before, atol=1e-6)


@pytest.mark.usefixtures("no_tracing")
def test_another_backbone_has_its_own_features(photos: tuple[Photo, ...], cache: Path) -> None:
    first = computed(photos, cache)
    assert not np.allclose(computed(photos, cache, seed=1), first)
    assert np.array_equal(computed(photos, cache), first)
    assert len(feature_files(cache)) == 2


def test_features_in_bf16_are_not_taken_for_those_in_f32(
    photos: tuple[Photo, ...],
    cache: Path,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = processor_of(monkeypatch, has_bf16=True)
    for bf16 in (False, True, True, False):
        compute = replace(CPU, bf16=bf16)
        compute_features(tiny_model(), photos, small_config(cache_dir=str(cache)), compute)
    assert [precision for _, precision in asked if precision == "bf16"] == ["bf16"]
    assert len(decoded) == 2 * len(photos)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_cache_is_computed_again_with_a_warning(
    share: float, photos: tuple[Photo, ...], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = computed(photos, cache)
    (stored,) = feature_files(cache)
    content = stored.read_bytes()
    stored.write_bytes(content[: int(len(content) * share)])
    assert np.array_equal(computed(photos, cache), before)
    assert f"{stored} is damaged" in caplog.text
    caplog.clear()
    assert np.array_equal(computed(photos, cache), before)
    assert caplog.text == ""


def test_an_interruption_leaves_the_old_cache(
    photos: tuple[Photo, ...], cache: Path, decoded: list[str]
) -> None:
    before = computed(photos[:4], cache)
    (stored,) = feature_files(cache)
    content = stored.read_bytes()
    photos[5].path.write_bytes(b"destroyed meanwhile")
    with pytest.raises(ValueError, match=photos[5].path.name):
        computed(photos, cache)
    assert feature_files(cache) == [stored]
    assert stored.read_bytes().startswith(content)
    decoded.clear()
    assert np.array_equal(computed(photos[:4], cache), before)
    assert decoded == []


def test_a_cache_of_an_older_version_is_left_alone(photos: tuple[Photo, ...], cache: Path) -> None:
    before = computed(photos, cache)
    (stored,) = feature_files(cache)
    stored.with_suffix(".npz").write_bytes(b"what an older version wrote")
    assert np.array_equal(computed(photos, cache), before)


def test_an_interrupted_pass_keeps_what_it_found(
    photos: tuple[Photo, ...],
    cache: Path,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = photos[-1]
    content = last.path.read_bytes()
    last.path.write_bytes(b"")
    with pytest.raises(PhotoError):
        computed(photos, cache)
    last.path.write_bytes(content)
    decoded.clear()
    found = computed(photos, cache)
    assert 1 <= len(decoded) <= 2
    assert np.array_equal(found, computed(photos, cache))


def test_a_first_photo_that_cannot_be_read_is_named(photos: tuple[Photo, ...], cache: Path) -> None:
    for photo in photos:
        photo.path.write_bytes(b"")
    with pytest.raises(PhotoError, match=photos[0].path.name):
        computed(photos, cache)


def test_rows_of_a_file_come_in_any_order_and_a_file_cut_short_is_named(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    (tmp_path / "rows.f32").write_bytes(values.tobytes())
    with (tmp_path / "rows.f32").open("r+b", 0) as file:
        rows = FileRows(file, (3,), np.float32, 4)
        assert np.array_equal(rows[torch.tensor([3, 0, 3])], values[[3, 0, 3]])
        assert rows[torch.tensor([], dtype=torch.int64)].shape == (0, 3)
        file.truncate(40)
        with pytest.raises(CacheError, match="was cut short while it was read"):
            rows[torch.tensor([0, 3])]


@pytest.mark.usefixtures("no_tracing")
def test_features_see_the_pixels_that_are_served(tmp_path: Path, cache: Path) -> None:
    # Its short side lies between the network's side and the size it is resized to, so that a
    # decoder asked for the wrong one of the two would take another JPEG scale.
    noise = np.random.default_rng(0).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    path = tmp_path / "noise.jpg"
    Image.fromarray(noise).save(path, quality=95)
    photo = Photo(path, 0, "0" * 64, 96, 72)
    network = tiny_model().network
    preprocessing = replace(tiny_preprocessing("crop"), resolution=34, resize=40)
    model = LandmarkNetwork(network, preprocessing)
    view = compute_features(model, (photo,), small_config(cache_dir=str(cache)), CPU)
    found = view[torch.zeros(1, dtype=torch.int64)].numpy()
    pixels = torch.from_numpy(preprocessing.read(path)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = model.eval().features(pixels).numpy()
    assert np.allclose(found, expected, atol=1e-4)
