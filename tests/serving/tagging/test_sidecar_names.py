"""Which file is the sidecar of a photo, under either name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.tagging.sidecars.files import find_sidecar
from tests.serving.tagging.sidecar_files import written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("naming", "there", "chosen"),
    [
        ("photo.jpg.xmp", [], "tower.jpg.xmp"),
        ("photo.xmp", [], "tower.xmp"),
        ("photo.jpg.xmp", ["tower.xmp"], "tower.xmp"),
        ("photo.xmp", ["tower.jpg.xmp"], "tower.jpg.xmp"),
        ("photo.jpg.xmp", ["tower.xmp", "tower.jpg.xmp"], "tower.jpg.xmp"),
        ("photo.jpg.xmp", ["tower.CR2", "tower.xmp"], "tower.jpg.xmp"),
        ("photo.xmp", ["tower.CR2", "tower.xmp"], "tower.jpg.xmp"),
        ("photo.xmp", ["Tower.png"], "tower.jpg.xmp"),
    ],
)
def test_the_sidecar_that_is_there_is_the_one(
    naming: str, there: list[str], chosen: str, photo: Path
) -> None:
    for name in there:
        written(photo.with_name(name))
    assert find_sidecar(photo, naming).name == chosen


@pytest.mark.parametrize("naming", ["photo.jpg.xmp", "photo.xmp"])
@pytest.mark.parametrize("extension", [{}, {"photoshop__SidecarForExtension": "jpg"}])
@pytest.mark.parametrize("other", ["tower.png", "tower.CR2", "tower.mp4"])
def test_the_full_name_of_one_file_is_not_the_stem_of_another(
    photo: Path, naming: str, extension: dict[str, str], other: str
) -> None:
    """`tower.png.xmp` is the sidecar of tower.png, whatever stands beside that."""
    photo.with_name(other).write_bytes(b"another")
    converted = photo.with_name(f"{other}.jpg")
    converted.write_bytes(photo.read_bytes())
    written(photo.with_name(f"{other}.xmp"), **extension)
    assert find_sidecar(converted, naming).name == f"{other}.jpg.xmp"
    photo.with_name(other).unlink()
    assert find_sidecar(converted, naming).name == f"{other}.xmp"


def test_a_stem_that_two_pictures_share_belongs_to_the_one_it_names(photo: Path) -> None:
    photo.with_name("tower.CR2").write_bytes(b"raw")
    written(photo.with_name("tower.xmp"), photoshop__SidecarForExtension="JPG")
    assert find_sidecar(photo, "photo.xmp").name == "tower.xmp"
