"""Thumbnails of a library's photos, made once: a later run only makes those that are missing."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from typing import TYPE_CHECKING

from PIL import Image

from landmark_ml.files import whole_file
from landmark_ml.inference.photos import PhotoError, decode_photo
from landmark_ml.inference.runtime import usable_cpus
from serving.tagging.recognition import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from serving.tagging.journal import Tagged

logger = logging.getLogger(__name__)

MAX_SIDE = 320
"""Longest side of a thumbnail in pixels."""

_MIN_SIDE = MAX_SIDE * 9 // 16
_QUALITY = 80
# Camera makers' wide colours fit; a printer's profile is larger than the picture.
_MAX_PROFILE_BYTES = 4096
_NAME = re.compile(r"[0-9a-f]{20}\.jpg")


def with_thumbnails(
    photos: Iterable[Tagged], root: Path, folder: Path
) -> Iterator[tuple[Tagged, str | None]]:
    """Yield photos in their order, each with the name of its thumbnail in a folder.

    The name is None for a photo without an answer, and for one that is gone or unreadable now. A
    photo that was changed since it was answered is shown as it is now.
    """

    def find_or_make(photo: Tagged) -> tuple[Tagged, str | None]:
        if photo.answer["error"] is not None:
            return photo, None
        source = root / photo.path
        try:
            name = thumbnail_name(photo.path, source.stat())
            target = folder / name
            # A power cut may leave an empty file.
            if not (target.is_file() and target.stat().st_size):
                with whole_file(target, flush=False) as path:
                    path.write_bytes(thumbnail(source))
        except (PhotoError, OSError) as error:
            logger.warning("%s gets no thumbnail: %s", source, error)
            return photo, None
        return photo, name

    return in_order(find_or_make, photos, usable_cpus(), name="thumb")


def thumbnail_name(path: Path, state: os.stat_result) -> str:
    """`ab/abc….jpg`; another name when the photo is changed."""
    identity = f"\0{state.st_size}\0{state.st_mtime_ns}\0{MAX_SIDE}".encode()
    digest = hashlib.sha256(os.fsencode(path) + identity).hexdigest()[:20]
    return f"{digest[:2]}/{digest}.jpg"


def thumbnail(photo: Path) -> bytes:
    """JPEG of a photo, upright, at most `MAX_SIDE` pixels wide and high, without EXIF.

    Raises PhotoError or OSError for a photo that cannot be read.
    """
    picture = decode_photo(photo, min_side=_MIN_SIDE)
    profile = picture.info.get("icc_profile", b"")
    kept = profile[16:20] == b"RGB " and len(profile) <= _MAX_PROFILE_BYTES
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=_QUALITY, icc_profile=profile if kept else None)
    return jpeg.getvalue()


def remove_unused(folder: Path, is_used: Callable[[str], bool]) -> None:
    """Remove thumbnails that are not used, and what a killed run left half-written."""
    for subfolder in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        for file in sorted(subfolder.iterdir()):
            name = file.name.removeprefix(".").split(".jpg")[0] + ".jpg"
            if _NAME.fullmatch(name) and not is_used(f"{subfolder.name}/{file.name}"):
                file.unlink()
