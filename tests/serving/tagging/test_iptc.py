"""IPTC keywords inside a photo: read in either encoding, carried along, and never trusted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from serving.tagging.sidecars import iptc_keywords
from tests.colour_artifact import RED, colour_photo
from tests.serving.tagging.test_sidecars import PATH, TAGS, update

PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:subject><rdf:Bag><rdf:li>grandma</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def dataset(number: int, content: bytes) -> bytes:
    return bytes([0x1C, 2, number]) + len(content).to_bytes(2, "big") + content


def block(*keywords: bytes) -> bytes:
    """A title, and keywords."""
    return dataset(5, b"title") + b"".join(dataset(25, word) for word in keywords)


def with_iptc(content: bytes) -> bytes:
    """A JPEG with an IPTC block, as Photoshop's segment holds it."""
    photo = colour_photo(RED)
    resource = b"8BIM\x04\x04\0\0" + len(content).to_bytes(4, "big") + content
    segment = b"Photoshop 3.0\0" + resource + b"\0" * (len(content) % 2)
    return photo[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + photo[2:]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return tmp_path / "tower.jpg"


def test_keywords_are_read_in_either_encoding(photo: Path) -> None:
    photo.write_bytes(with_iptc(block("Zoë".encode(), "Café".encode("latin-1"), b"a\0b", b"", b"")))
    assert iptc_keywords(photo) == ["Zoë", "Café", "ab"]
    words = ("Sacré-Cœur", "Šibenik")
    photo.write_bytes(with_iptc(block(*(word.encode("cp1252") for word in words))))
    assert iptc_keywords(photo) == list(words)
    words = ("東京　タワー", "می‌خواهم")
    photo.write_bytes(with_iptc(block(*(word.encode() for word in words))))
    assert iptc_keywords(photo) == list(words)
    photo.write_bytes(with_iptc(block(b"New\r\nYork", b"a\tb", "x\uffffy".encode())))
    assert iptc_keywords(photo) == ["New York", "a b", "xy"]
    photo.write_bytes(with_iptc(block(b"one")))
    assert iptc_keywords(photo) == ["one"]


def test_a_tiff_has_them_too(tmp_path: Path) -> None:
    tiff, tags = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.IPTC_NAA_CHUNK] = block(b"holiday", b"beach")
    tags.tagtype[TiffImagePlugin.IPTC_NAA_CHUNK] = 7
    Image.new("RGB", (8, 8)).save(tiff, "TIFF", tiffinfo=tags)
    photo = tmp_path / "tower.tif"
    photo.write_bytes(tiff.getvalue())
    assert iptc_keywords(photo) == ["holiday", "beach"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"II*\0",
        b"\x89PNG",
        colour_photo(RED),
        with_iptc(b"garbage"),
        with_iptc(b"\x1c\x02\x19\xff\xff"),
        with_iptc(block(b"holiday"))[:60],
    ],
)
def test_what_is_damaged_has_none(content: bytes, photo: Path) -> None:
    photo.write_bytes(content)
    assert iptc_keywords(photo) == []


def test_they_come_along_into_the_first_sidecar(photo: Path) -> None:
    photo.write_bytes(with_iptc(block(b"holiday")))
    xmp = update(photo, TAGS)
    assert xmp.items("dc:subject") == ["holiday", "Paris", "France"]
    assert xmp.items("landmarkml:WroteSubject") == ["Paris", "France"]
    assert xmp.items("digiKam:TagsList") == ["holiday", PATH]


def test_keywords_of_the_xmp_go_before_them(photo: Path) -> None:
    photo.write_bytes(with_iptc(block(b"holiday")) + PACKET.encode())
    assert update(photo, TAGS).items("dc:subject") == ["grandma", "Paris", "France"]
