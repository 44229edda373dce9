"""What a search looks at before its study begins, and what it refuses there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from landmark_ml.geo.gazetteer_file import GazetteerError
from landmark_ml.tuning import run_tuning, search
from tests.tuning.small_search import small_search

if TYPE_CHECKING:
    from pathlib import Path


class StudyBeganError(Exception):
    """Everything before the study was in order."""


@pytest.fixture(autouse=True)
def _no_study(monkeypatch: pytest.MonkeyPatch, tracking_uri: str) -> None:
    def began(*_: object) -> None:
        raise StudyBeganError

    monkeypatch.setattr(search, "join_study", began)


@pytest.mark.parametrize("resolution", [0, 160])
def test_our_own_network_can_be_searched(tmp_path: Path, resolution: int) -> None:
    config = small_search(
        tmp_path,
        backbone="landmark_cnn",
        weights="random",
        feature_stages=0,
        space="finetune",
        epochs=0,
        finetune_epochs=6,
        resolution=resolution,
    )
    with pytest.raises(StudyBeganError):
        run_tuning(config)


def test_a_mistaken_backbone_is_found_before_the_photos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "open_folds", lambda *_: pytest.fail("photos were read"))
    config = small_search(tmp_path, weights="pretrained", backbones="test_eficientnet")
    with pytest.raises(ValueError, match=r"'test_eficientnet' is unknown .*test_efficientnet"):
        run_tuning(config)


def test_a_dataset_without_test_photos_is_refused(tmp_path: Path) -> None:
    config = small_search(tmp_path, max_unreadable=1.0)
    for photo in (tmp_path / "photos" / "test").rglob("*.*"):
        photo.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="has no readable test photo of a landmark"):
        run_tuning(config)


def test_a_mistake_in_the_places_is_found_before_the_search(tmp_path: Path) -> None:
    places = tmp_path / "mine.csv"
    places.write_text("landmark,latitude,longitude\nred,95,0\n")
    with pytest.raises(GazetteerError, match="line 2, column latitude"):
        run_tuning(small_search(tmp_path, places=str(places)))
