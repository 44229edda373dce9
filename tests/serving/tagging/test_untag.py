"""What the tagger wrote into sidecars goes again, and nothing else does."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.untag import main
from landmark_ml.config import UntagConfig
from serving.tagging.sidecars import MODEL, untag, untag_sidecar, update_sidecar
from serving.tagging.xmp import Xmp
from tests.serving.tagging.sidecar_files import written
from tests.serving.tagging.test_sidecars import FLAT, PACKET, change_of
from tests.serving.tagging.test_sidecars import TAGS as WITHOUT_PLACE

TAGS = replace(
    WITHOUT_PLACE,
    values={
        "exif:GPSLatitude": "48,51.504000N",
        "exif:GPSLongitude": "2,17.670000E",
        "photoshop:City": "Paris",
        "photoshop:Country": "France",
        "Iptc4xmpCore:CountryCode": "FR",
    },
)


@pytest.fixture
def config(photo: Path, tmp_path: Path) -> UntagConfig:
    return UntagConfig(photos=str(photo.parent), out=str(tmp_path / "out"))


def tag(photo: Path) -> Path:
    return change_of(photo, TAGS).sidecar


def rows(config: UntagConfig) -> list[dict[str, str]]:
    with Path(config.out, "untagged.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sidecar_of_ours_alone_is_removed(config: UntagConfig, photo: Path) -> None:
    before = photo.read_bytes()
    sidecar = tag(photo)
    (change,) = untag(config)
    assert (change.action, change.detail) == ("removed", ", ".join(TAGS.lists["dc:subject"]))
    assert not sidecar.exists()
    assert photo.read_bytes() == before
    assert untag(config) == []


USERS = {
    "a title": {"dc__title": "a tower"},
    "tags of one list": {"dc__subject": ["grandma", "holiday"]},
    "tags of two lists": {"dc__subject": ["grandma"], "digiKam__TagsList": ["People/grandma"]},
    "a place": {"photoshop__City": "Lyon", "dc__subject": ["France"]},
    "a position": {"exif__GPSLatitude": "1,0.0N", "exif__GPSLongitude": "2,0.0E"},
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", USERS)
def test_a_users_sidecar_is_again_what_it_was(
    config: UntagConfig, photo: Path, case: str, inside: bool
) -> None:
    if inside:
        photo.write_bytes(photo.read_bytes() + PACKET.encode())
    sidecar = written(photo.with_name("tower.jpg.xmp"), **USERS[case])  # type: ignore[arg-type]
    before = sidecar.read_bytes()
    assert tag(photo) == sidecar
    assert sidecar.read_bytes() != before
    (change,) = untag(config)
    assert change.action == "changed"
    assert sidecar.read_bytes() == before


def test_tags_copied_from_the_photo_go_with_the_sidecar_that_we_made(
    config: UntagConfig, photo: Path
) -> None:
    photo.write_bytes(photo.read_bytes() + PACKET.encode())
    sidecar = tag(photo)
    assert "grandma" in Xmp.parse(sidecar.read_bytes()).items("dc:subject")
    assert [change.action for change in untag(config)] == ["removed"]


def test_what_was_changed_since_stays(config: UntagConfig, photo: Path) -> None:
    sidecar = tag(photo)
    xmp = Xmp.parse(sidecar.read_bytes())
    xmp.set_text("photoshop:City", "Versailles")
    xmp.add_items("dc:subject", ["grandma"], "Bag")
    sidecar.write_bytes(xmp.to_bytes())
    assert [change.action for change in untag(config)] == ["changed"]
    left = Xmp.parse(sidecar.read_bytes())
    assert left.items("dc:subject") == ["grandma"]
    # A city that is the user's makes the country theirs.
    assert (left.text("photoshop:City"), left.text("photoshop:Country")) == ("Versailles", "France")
    assert left.text("exif:GPSLatitude") is None
    assert b"landmarkml:" not in sidecar.read_bytes()


def test_a_dry_run_says_what_would_go_and_what_was_there(
    config: UntagConfig, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = tag(photo)
    before = sidecar.read_bytes()
    main(UntagConfig(photos=config.photos, out=config.out, dry_run=True))
    assert sidecar.read_bytes() == before
    assert "1 removed, if this were no dry run" in capsys.readouterr().out
    (row,) = rows(config)
    assert (row["sidecar"], row["action"]) == ("tower.jpg.xmp", "removed")
    assert json.loads(row["before"])["dc:subject"] == list(TAGS.lists["dc:subject"])


def test_a_sidecar_that_is_refused_stops_no_other_and_fails_the_command(
    config: UntagConfig, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tag(photo)
    broken = photo.with_name("broken.xmp")
    broken.write_bytes(b"<!DOCTYPE x><x/>")
    with pytest.raises(ValueError, match=r"1 sidecar refused; .*untagged\.csv says why"):
        main(config)
    assert "broken.xmp: it has a document type" in capsys.readouterr().out
    assert sorted(row["action"] for row in rows(config)) == ["refused", "removed"]


def test_foreign_sidecars_are_not_touched(photo: Path) -> None:
    sidecar = written(photo.with_name("tower.xmp"), dc__subject=FLAT)
    assert untag_sidecar(sidecar, dry_run=False) is None
    assert Xmp.parse(sidecar.read_bytes()).text(MODEL) is None


def test_one_photo_alone(config: UntagConfig, photo: Path) -> None:
    other = photo.with_name("other.jpg")
    other.write_bytes(photo.read_bytes())
    sidecars = [tag(photo), tag(other)]
    untag(UntagConfig(photos=str(photo), out=config.out))
    assert [sidecar.exists() for sidecar in sidecars] == [False, True]


def test_the_tagger_says_what_a_sidecar_held_before(photo: Path) -> None:
    written(photo.with_name("tower.jpg.xmp"), dc__subject=["grandma"], photoshop__City="Lyon")
    change = update_sidecar(photo, TAGS, "photo.jpg.xmp", dry_run=True)
    assert change is not None
    assert json.loads(change.before) == {"dc:subject": ["grandma"], "photoshop:City": "Lyon"}
