"""Sidecars as other programs read them: exiftool and exiv2, on which photo managers build."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from landmark_ml.inference.predictor import Predictor
from tests.colour_artifact import RED, TOWER, colour_photo
from tests.serving.tagging.test_sidecars import FLAT, NOTHING, change_of, tags_of

pytestmark = pytest.mark.slow


@pytest.fixture
def sidecar(tmp_path: Path, predictor: Predictor) -> Path:
    photo = tmp_path / "tower.jpg"
    photo.write_bytes(colour_photo(RED))
    (answer,) = predictor.predict([photo.read_bytes()])
    return change_of(photo, tags_of(answer)).sidecar


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "rror" in line], done.stderr
    return done.stdout


def test_exiftool_reads_it(sidecar: Path) -> None:
    exiftool = program("exiftool")
    (read,) = json.loads(said(exiftool, "-json", "-G1", "-n", str(sidecar)))
    assert read["XMP-dc:Subject"] == FLAT
    assert read["XMP-lr:HierarchicalSubject"] == "Places|France|Paris|Eiffel Tower"
    assert read["XMP-digiKam:TagsList"] == "Places/France/Paris/Eiffel Tower"
    assert read["XMP-exif:GPSLatitude"] == pytest.approx(TOWER.latitude, abs=1e-7)
    assert read["XMP-exif:GPSLongitude"] == pytest.approx(TOWER.longitude, abs=1e-7)
    assert (read["XMP-photoshop:City"], read["XMP-photoshop:Country"]) == ("Paris", "France")
    assert read["XMP-iptcCore:CountryCode"] == "FR"
    assert read["XMP-landmarkml:Model"] == "landmarks/1"
    assert "ExifTool:Warning" not in read
    warnings = said(exiftool, "-validate", "-warning", "-a", str(sidecar))
    assert "Warning" not in warnings.replace("Validate", "")


def test_exiv2_reads_it(sidecar: Path) -> None:
    lines = said(program("exiv2"), "-Pkyv", "print", str(sidecar)).splitlines()
    read = {}
    for line in lines:
        key, kind, *value = line.split(maxsplit=2)
        read[key] = (kind, "".join(value))
    assert read["Xmp.dc.subject"] == ("XmpBag", ", ".join(FLAT))
    assert read["Xmp.lr.hierarchicalSubject"][1] == "Places|France|Paris|Eiffel Tower"
    assert read["Xmp.digiKam.TagsList"] == ("XmpSeq", "Places/France/Paris/Eiffel Tower")
    assert read["Xmp.exif.GPSLatitude"][1] == "48,51.504000N"
    assert read["Xmp.photoshop.City"][1] == "Paris"
    assert read["Xmp.iptc.CountryCode"][1] == "FR"
    assert read["Xmp.landmarkml.Landmark"][1] == "Eiffel Tower"


def test_what_exiftool_adds_survives_the_next_model(sidecar: Path, tmp_path: Path) -> None:
    exiftool = program("exiftool")
    said(exiftool, "-overwrite_original", "-XMP-dc:Subject+=holiday", "-Rating=4", str(sidecar))
    photo = tmp_path / "tower.jpg"
    assert change_of(photo, replace(NOTHING, model="landmarks/2")).action == "changed"
    (read,) = json.loads(said(exiftool, "-json", "-G1", "-n", str(sidecar)))
    assert read["XMP-dc:Subject"] == "holiday"
    assert read["XMP-xmp:Rating"] == 4
    assert "XMP-exif:GPSLatitude" not in read
    assert "XMP-photoshop:City" not in read
