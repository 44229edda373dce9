"""Sidecar files of a library: which file is a photo's, what the photo itself holds, writing it."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import IptcImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.files import whole_file, write_whole
from landmark_ml.inference.photos import DEFAULT_LIMITS
from serving.tagging.sidecars.tags import (
    LISTS,
    MODEL,
    PLACE,
    POSITION,
    SUBJECT,
    build_tags,
    is_others,
    merge,
)
from serving.tagging.sidecars.xmp import Xmp, XmpError, clean_text
from serving.tagging.table import printable
from serving.tagging.walk import OTHER_PICTURES, PHOTO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from landmark_ml.config import TagConfig
    from serving.tagging.journal import Tagged
    from serving.tagging.sidecars.tags import SidecarTags

logger = logging.getLogger(__name__)

SIDECARS_CSV = "sidecars.csv"
FULL_NAME = "photo.jpg.xmp"
"""The naming that keeps the photo's suffix; the other is `photo.xmp`."""

_FOLDERS_REMEMBERED = 64
# The prefix is the writer's choice, x:xapmeta an old name, and some write the RDF alone.
_OPENING = re.compile(rb"<(\w+:x[am]pmeta|rdf:RDF)\b")
_CLOSING = re.compile(rb"</(\w+:x[am]pmeta|rdf:RDF)\s*>")
_IPTC_KEYWORDS = (2, 25)
_IPTC_FORMATS: dict[bytes, type[JpegImageFile] | type[TiffImageFile]] = {
    b"\xff\xd8": JpegImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
}


class SidecarChange(NamedTuple):
    """What was done, or in a dry run would be: `created`, `changed`, `kept` or `refused`."""

    sidecar: Path
    action: str
    detail: str = ""


def write_sidecars(
    answers: Iterable[Tagged],
    root: Path,
    config: TagConfig,
    *,
    model: str,
    country_codes: Mapping[str, str],
) -> Counter[str]:
    """Update the sidecar of every photo, list the changes in `sidecars.csv`, count the actions."""
    done: Counter[str] = Counter()
    with (
        # One tagger at a time holds the journal in `out`, so the name of the scratch file is free.
        whole_file(user_path(config.out) / SIDECARS_CSV, f".{SIDECARS_CSV}.tmp") as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(["photo", "sidecar", "action", "detail"])
        for photo in tqdm(answers, desc="sidecars", unit=" photos", delay=1):
            if photo.answer["error"] is not None:
                # It may be a disk's failure of today, and says nothing about what the photo shows.
                continue
            tags = build_tags(
                photo.answer,
                model,
                country_codes=country_codes,
                root=config.tag_root,
                min_confidence=config.min_confidence,
            )
            change = update_sidecar(
                root / photo.path, tags, config.sidecars, dry_run=config.dry_run
            )
            if change is None:
                continue
            done[change.action] += 1
            if change.action != "kept":
                sidecar = printable(change.sidecar.relative_to(root))
                lines.writerow([printable(photo.path), sidecar, change.action, change.detail])
    return done


def update_sidecar(
    photo: Path, tags: SidecarTags, naming: str, *, dry_run: bool
) -> SidecarChange | None:
    """Merge tags into the sidecar of a photo; None where there are neither tags nor a sidecar.

    A sidecar that cannot be understood, read or written is left alone and `refused`.
    """
    # What is read to find the sidecar, until it is found: that may be what fails.
    sidecar = photo.with_suffix(".xmp")
    try:
        sidecar = find_sidecar(photo, naming)
        before = sidecar.read_bytes() if sidecar.is_file() else None
        if before is None and tags.is_empty:
            return None
        xmp = Xmp.new() if before is None else Xmp.parse(before)
        begins = not tags.is_empty and xmp.text(MODEL) is None and not any(map(xmp.items, LISTS))
        gives_place = any(value is not None for value in tags.values.values())
        embedded = embedded_xmp(photo) if begins or gives_place else None
        if begins:
            _copy_tags_inside(photo, embedded, xmp)
        merge(xmp, tags, _given_elsewhere(photo, embedded, sidecar) if gives_place else ())
        after = xmp.to_bytes() if xmp.changed else before
        if after == before or after is None:
            return SidecarChange(sidecar, "kept")
        if not dry_run:
            # Where the sidecar is a link, the file it leads to is written. A fixed scratch name:
            # what a killed run left is written over, not left in the library for good.
            target = sidecar.resolve()
            write_whole(target, after, f".{target.name}.tmp")
    except (XmpError, OSError) as error:
        return SidecarChange(sidecar, "refused", str(error))
    action = "created" if before is None else "changed"
    return SidecarChange(sidecar, action, ", ".join(tags.lists[SUBJECT]))


def find_sidecar(photo: Path, naming: str) -> Path:
    """The sidecar that exists under either name, the one asked for first; else the one to create.

    `photo.xmp` belongs to the picture it names; if it names none, to this photo unless another
    picture in the folder has the same stem. Raises OSError when it cannot be read.
    """
    full, stem = photo.with_name(f"{photo.name}.xmp"), photo.with_suffix(".xmp")
    if not _owns(stem, photo):
        return full
    names = (full, stem) if naming == FULL_NAME else (stem, full)
    return next((name for name in names if name.is_file()), names[0])


def _owns(stem: Path, photo: Path) -> bool:
    """Whether `photo.xmp` is this photo's."""
    if photo.with_name(photo.stem).is_file():
        # Beside `a.mp4` and `a.mp4.jpg`, `a.mp4.xmp` is the full name of the video's sidecar.
        return False
    extension = None
    if stem.is_file():
        with contextlib.suppress(XmpError):
            extension = Xmp.parse(stem.read_bytes()).text("photoshop:SidecarForExtension")
    if extension is not None:
        return extension.lower() == photo.suffix[1:].lower()
    return _pictures_by_stem(photo.parent)[photo.stem.lower()] <= 1


@lru_cache(maxsize=_FOLDERS_REMEMBERED)
def _pictures_by_stem(folder: Path) -> Counter[str]:
    with os.scandir(folder) as entries:
        names = [Path(entry.name) for entry in entries]
    pictures = PHOTO_SUFFIXES | OTHER_PICTURES
    return Counter(name.stem.lower() for name in names if name.suffix.lower() in pictures)


def _copy_tags_inside(photo: Path, embedded: Xmp | None, xmp: Xmp) -> None:
    """Copy a user's tags from inside the photo, its XMP or else IPTC, into its first sidecar.

    Programs that find tags in a sidecar look no further, and would forget those.
    """
    if embedded is not None:
        for name, tag_list in LISTS.items():
            xmp.add_items(name, embedded.items(name), tag_list.kind)
    if not xmp.items(SUBJECT):
        xmp.add_items(SUBJECT, iptc_keywords(photo), LISTS[SUBJECT].kind)


def _given_elsewhere(photo: Path, embedded: Xmp | None, sidecar: Path) -> list[Mapping[str, str]]:
    """Those of POSITION and PLACE that others give in the photo itself or its other sidecar."""
    stem = photo.with_suffix(".xmp")
    names = {photo.with_name(f"{photo.name}.xmp"), *([stem] if _owns(stem, photo) else [])}
    others = [Xmp.parse(name.read_bytes()) for name in names - {sidecar} if name.is_file()]
    documents = others if embedded is None else [embedded, *others]
    groups: tuple[Mapping[str, str], ...] = (POSITION, PLACE)
    return [group for group in groups if any(is_others(found, group) for found in documents)]


def embedded_xmp(photo: Path) -> Xmp | None:
    """The XMP inside a photo of any format; None when there is none that can be read.

    The packet is found by its tags, as the XMP specification (part 3) provides for.
    """
    with photo.open("rb") as file:
        content = file.read(DEFAULT_LIMITS.max_bytes)
    # From the first tag that is closed; tags that nobody closes must not be searched for each time.
    last = {closing[1]: closing.start() for closing in _CLOSING.finditer(content)}
    for opening in _OPENING.finditer(content):
        if last.get(opening[1], 0) > opening.start():
            closings = _CLOSING.finditer(content, opening.end())
            closing = next(found for found in closings if found[1] == opening[1])
            with contextlib.suppress(XmpError):
                return Xmp.parse(content[opening.start() : closing.end()])
            return None
    return None


def iptc_keywords(photo: Path) -> list[str]:
    """Keywords as older programs write them into a JPEG or TIFF: dataset 2:25 of IPTC's IIM.

    None where they cannot be read. Raises OSError for a file that cannot be opened.
    """
    with photo.open("rb") as file:
        opened = _IPTC_FORMATS.get(file.read(2))
        if opened is None:
            return []
        file.seek(0)
        try:
            found = (IptcImagePlugin.getiptcinfo(opened(file)) or {}).get(_IPTC_KEYWORDS, [])
        except Exception as error:
            # Foreign bytes parsed in Python: a damaged block can raise anything.
            logger.debug("unreadable IPTC block ignored: %r", error)
            return []
    # Pillow gives an empty keyword as None, and one keyword without a list.
    texts = [_text(word) for word in (found if isinstance(found, list) else [found]) if word]
    return list(dict.fromkeys(text for text in texts if text))


def _text(keyword: bytes) -> str:
    """A keyword in whatever encoding it has."""
    for encoding in ("utf-8", "cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            return clean_text(keyword.decode(encoding))
    raise AssertionError("latin-1 reads every byte")
