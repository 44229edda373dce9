"""Photos that cannot be looked for: what was answered of them is not thrown away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serving.cluster.tagger import Network, tag_photos
from tests.colour_artifact import GREEN, colour_photo
from tests.serving.cluster.one_process import OneProcess
from tests.serving.cluster.tables import files, table

if TYPE_CHECKING:
    from landmark_ml.config import ClusterConfig

NO_PHOTOS = 7


def test_photos_that_are_all_gone_at_once_are_refused(
    config: ClusterConfig, recognised: Any, photos: Path, tmp_path: Path
) -> None:
    """As the mount point of a disk is found that is not mounted."""
    recognised(config)
    before = files(config)
    photos.rename(tmp_path / "disk")
    photos.mkdir()
    with pytest.raises(ValueError, match=r"holds no photos.*mounted.*give another out"):
        recognised(config)
    assert files(config) == before


def test_photos_of_a_folder_that_cannot_be_opened_stay_in_the_table(
    config: ClusterConfig, network: Network, photos: Path, tmp_path: Path
) -> None:
    tag_photos(config, network, OneProcess())
    before, rows = files(config), table(config)
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    result = tag_photos(config, network, OneProcess())
    assert (result.photos, result.recognised) == (NO_PHOTOS, 0)
    assert list(result.unreadable) == [Path("2024")]
    assert files(config) == before
    (photos / "2023/nowhere.jpg").unlink()
    (photos / "2024 and more.jpg").write_bytes(colour_photo(GREEN))
    assert tag_photos(config, network, OneProcess()).recognised == 1
    added = {"2024 and more.jpg": table(config)["2024 and more.jpg"]}
    kept = {path: row for path, row in rows.items() if path != "2023/nowhere.jpg"}
    assert table(config) == kept | added
    (photos / "2024").unlink()
    (tmp_path / "disk").rename(photos / "2024")
    assert tag_photos(config, network, OneProcess()).recognised == 0
    assert table(config) == kept | added


def test_no_part_is_removed_of_photos_that_another_model_cannot_see(
    config: ClusterConfig, recognised: Any, photos: Path, network: Network, tmp_path: Path
) -> None:
    single = replace(config, part_photos=1)
    recognised(single)
    before = set(files(single))
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    assert recognised(single, Network(network.files, "landmarks/2")) == NO_PHOTOS - 3
    assert set(files(single)) == before
