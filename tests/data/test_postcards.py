"""Postcards: same seed, same picture; twelve landmarks; a folder that is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_ml.data import postcards
from landmark_ml.data.postcards import LANDMARKS, draw_postcard, write_postcards

SMALL = {"per_class": 2, "not_landmarks": 3, "test_per_class": 1}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw noise instead of scenes where only the folder matters; the generators stay real."""

    def draw(landmark: str | None, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8))

    monkeypatch.setattr(postcards, "draw_postcard", draw)


def _draw(landmark: str | None, seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    return draw_postcard(landmark, np.random.default_rng(seed), size)


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")}


def test_the_landmarks_are_twelve_in_alphabetical_order() -> None:
    assert len(LANDMARKS) == 12
    assert list(LANDMARKS) == sorted(LANDMARKS)
    assert {"Big Ben", "Leaning Tower of Pisa", "Taj Mahal"} <= set(LANDMARKS)


@pytest.mark.parametrize("landmark", [*LANDMARKS, None])
def test_every_subject_is_drawn_at_the_size_asked_and_is_not_blank(landmark: str | None) -> None:
    for seed, size in enumerate([(96, 72), (72, 96), (33, 32)]):
        picture = _draw(landmark, seed, size)
        assert (picture.mode, picture.size) == ("RGB", size)
        assert np.asarray(picture, float).std() > 2


@pytest.mark.parametrize("landmark", ["Stonehenge", None])
def test_the_same_seed_draws_the_same_pixels_and_another_seed_others(landmark: str | None) -> None:
    assert _draw(landmark, 7).tobytes() == _draw(landmark, 7).tobytes()
    assert _draw(landmark, 7).tobytes() != _draw(landmark, 8).tobytes()


def test_scenes_without_a_landmark_are_of_many_kinds() -> None:
    scenes = {_draw(None, seed, (40, 32)).tobytes() for seed in range(60)}
    assert len(scenes) == 60


def test_two_landmarks_differ_under_the_same_seed() -> None:
    assert _draw("Eiffel Tower", 3).tobytes() != _draw("Big Ben", 3).tobytes()


@pytest.mark.usefixtures("quick")
def test_the_folder_holds_numbered_classes_and_scenes_without_a_landmark(
    tmp_path: Path,
) -> None:
    folder = write_postcards(tmp_path / "deep" / "cards", **SMALL)
    classes = [f"{i:02d}.{name.replace(' ', '_')}" for i, name in enumerate(LANDMARKS)]
    assert sorted(p.name for p in (folder / "train").iterdir()) == classes
    assert sorted(p.name for p in (folder / "test").iterdir()) == classes
    assert all(len(list((folder / "train" / c).glob("*.jpg"))) == 2 for c in classes)
    assert all(len(list((folder / "test" / c).glob("*.jpg"))) == 1 for c in classes)
    assert len(list((folder / "not_landmarks").glob("*.jpg"))) == 3
    with Image.open(next(folder.rglob("*.jpg"))) as picture:
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
    assert len(set(_contents(folder).values())) == 12 * 3 + 3
    assert len({Image.open(p).size for p in folder.rglob("*.jpg")}) > 1


@pytest.mark.usefixtures("quick")
def test_the_seed_decides_every_picture(tmp_path: Path) -> None:
    first, again, other = (
        write_postcards(tmp_path / name, per_class=1, not_landmarks=1, test_per_class=0, seed=seed)
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert _contents(first) == _contents(again)
    assert not set(_contents(first).values()) & set(_contents(other).values())


@pytest.mark.usefixtures("quick")
def test_counts_do_not_change_the_other_pictures(tmp_path: Path) -> None:
    few = write_postcards(tmp_path / "few", per_class=1, not_landmarks=0, test_per_class=1)
    more = write_postcards(tmp_path / "more", per_class=2, not_landmarks=2, test_per_class=1)
    assert _contents(few).items() <= _contents(more).items()


@pytest.mark.usefixtures("quick")
def test_a_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_postcards(tmp_path / "cards", **SMALL)
    monkeypatch.setattr(postcards, "draw_postcard", _interrupt)
    assert write_postcards(folder, **SMALL) == folder


@pytest.mark.usefixtures("quick")
def test_an_interruption_leaves_no_folder_and_the_next_call_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(postcards, "draw_postcard", _interrupt_after(4))
        with pytest.raises(KeyboardInterrupt):
            write_postcards(tmp_path / "cards", **SMALL)
    assert list(tmp_path.iterdir()) == []
    assert len(_contents(write_postcards(tmp_path / "cards", **SMALL))) == 39


def test_a_folder_another_process_completed_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def race(*_: object) -> Image.Image:
        monkeypatch.setattr(postcards, "draw_postcard", _blank)
        write_postcards(tmp_path / "cards", **SMALL)
        (tmp_path / "cards" / ".theirs").touch()
        return _blank()

    monkeypatch.setattr(postcards, "draw_postcard", race)
    assert (write_postcards(tmp_path / "cards", **SMALL) / ".theirs").exists()


def _blank(*_: object) -> Image.Image:
    return Image.new("RGB", (8, 8))


def _interrupt(*_: object) -> Image.Image:
    raise KeyboardInterrupt


def _interrupt_after(count: int) -> object:
    left = iter(range(count))

    def draw(*arguments: object) -> Image.Image:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return _blank()

    return draw
