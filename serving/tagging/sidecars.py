"""XMP sidecars beside the photos: which file it is, what is in it already, and writing it."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.files import write_whole
from landmark_ml.inference.photos import DEFAULT_LIMITS
from serving.tagging.iptc import iptc_keywords
from serving.tagging.merging import MODEL, PLACE, POSITION, merge, tells
from serving.tagging.tag_lists import LISTS, SUBJECT
from serving.tagging.walk import OTHER_PICTURES, PHOTO_SUFFIXES
from serving.tagging.xmp import Xmp, XmpError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.tagging.merging import Saying

FULL_NAME = "photo.jpg.xmp"
"""Naming of sidecars that keeps the photo's suffix; the other, `photo.xmp`, puts it away."""

_FOLDERS_REMEMBERED = 64
# The prefix is the writer's choice, x:xapmeta its old name, and some write the RDF alone.
_OPENING = re.compile(rb"<(\w+:x[am]pmeta|rdf:RDF)\b")
_CLOSING = re.compile(rb"</(\w+:x[am]pmeta|rdf:RDF)\s*>")


@dataclass(frozen=True)
class SidecarChange:
    """What was, or in a dry run would be, done: `created`, `changed`, `kept` or `refused`."""

    photo: Path
    sidecar: Path
    action: str
    detail: str


def update_sidecar(
    photo: Path, saying: Saying, naming: str, *, dry_run: bool
) -> SidecarChange | None:
    """Lay what we say into the sidecar of a photo; None where there is neither.

    A sidecar that cannot be understood, read or written is left alone and refused.
    """
    # Until it is found: the one that is read to find it, which may be what fails.
    sidecar = photo.with_suffix(".xmp")
    try:
        sidecar = find_sidecar(photo, naming)
        before = sidecar.read_bytes() if sidecar.is_file() else None
        if before is None and saying.is_empty:
            return None
        xmp = Xmp.new() if before is None else Xmp.parse(before)
        if not saying.is_empty and _has_no_tags_yet(xmp):
            _take_over_tags(xmp, photo)
        says_where = any(value is not None for value in saying.values.values())
        merge(xmp, saying, _told_elsewhere(photo, sidecar) if says_where else ())
        after = xmp.to_bytes() if xmp.changed else before
        if after == before or after is None:
            return SidecarChange(photo, sidecar, "kept", "")
        # Where it is a link, the file it leads to is written.
        if not dry_run:
            write_whole(sidecar.resolve(), after)
    except (XmpError, OSError) as error:
        return SidecarChange(photo, sidecar, "refused", str(error))
    added = ", ".join(saying.lists["dc:subject"])
    return SidecarChange(photo, sidecar, "created" if before is None else "changed", added)


def find_sidecar(photo: Path, naming: str) -> Path:
    """The sidecar that is there under either name, the one asked for first; else the one to make.

    `photo.xmp` is that of the picture which it names itself; when it names none, of this photo
    while no other picture in the folder is called so. Raises OSError when it cannot be read.
    """
    full, stem = photo.with_name(f"{photo.name}.xmp"), photo.with_suffix(".xmp")
    if not _owns(stem, photo):
        return full
    names = (full, stem) if naming == FULL_NAME else (stem, full)
    return next((name for name in names if name.is_file()), names[0])


def embedded_xmp(photo: Path) -> Xmp | None:
    """The XMP inside a photo file, whatever its format; None when there is none that is readable.

    The packet is found by its tags, as the standard provides for.
    """
    with photo.open("rb") as file:
        content = file.read(DEFAULT_LIMITS.max_bytes)
    packet = _find_packet(content)
    if packet is None:
        return None
    try:
        return Xmp.parse(packet)
    except XmpError:
        return None


def _find_packet(content: bytes) -> bytes | None:
    """From the first tag that is closed to where it is; reads the content no more than thrice."""
    last = {closing[1]: closing.start() for closing in _CLOSING.finditer(content)}
    for opening in _OPENING.finditer(content):
        if last.get(opening[1], 0) > opening.start():
            closings = _CLOSING.finditer(content, opening.end())
            closing = next(found for found in closings if found[1] == opening[1])
            return content[opening.start() : closing.end()]
    return None


def _has_no_tags_yet(xmp: Xmp) -> bool:
    """Whether nobody put tags into a sidecar: neither its user nor, at any time, we."""
    return xmp.text(MODEL) is None and not any(map(xmp.items, LISTS))


def _take_over_tags(xmp: Xmp, photo: Path) -> None:
    """Take a user's tags from inside the photo, its XMP or else IPTC, into its sidecar.

    Programs that find tags in a sidecar look no further, and would forget those.
    """
    embedded = embedded_xmp(photo)
    if embedded is not None:
        for name, (kind, _) in LISTS.items():
            xmp.add_items(name, embedded.items(name), kind)
    if not xmp.items(SUBJECT):
        xmp.add_items(SUBJECT, iptc_keywords(photo), LISTS[SUBJECT][0])


def _told_elsewhere(photo: Path, sidecar: Path) -> list[Mapping[str, str]]:
    """Position and place, if somebody tells them in the photo itself or in its other sidecar."""
    embedded = embedded_xmp(photo)
    stem = photo.with_suffix(".xmp")
    names = {photo.with_name(f"{photo.name}.xmp"), *([stem] if _owns(stem, photo) else [])}
    others = [Xmp.parse(name.read_bytes()) for name in names - {sidecar} if name.is_file()]
    documents = others if embedded is None else [embedded, *others]
    groups: tuple[Mapping[str, str], ...] = (POSITION, PLACE)
    return [group for group in groups if any(tells(found, group) for found in documents)]


def _owns(stem: Path, photo: Path) -> bool:
    """Whether `photo.xmp` is this photo's: it says so, or says nothing and no other can own it."""
    if photo.with_name(photo.stem).is_file():
        # `a.mp4.xmp` beside `a.mp4` and `a.mp4.jpg` is the full name of the first one's.
        return False
    extension = None
    if stem.is_file():
        with contextlib.suppress(XmpError):
            extension = Xmp.parse(stem.read_bytes()).text("photoshop:SidecarForExtension")
    if extension is not None:
        return extension.lower() == photo.suffix[1:].lower()
    return _pictures_of(photo.parent)[photo.stem.lower()] <= 1


@lru_cache(maxsize=_FOLDERS_REMEMBERED)
def _pictures_of(folder: Path) -> Counter[str]:
    """How many pictures of a folder share a name but for their suffix."""
    with os.scandir(folder) as entries:
        names = [Path(entry.name) for entry in entries]
    read = PHOTO_SUFFIXES | OTHER_PICTURES
    return Counter(name.stem.lower() for name in names if name.suffix.lower() in read)
