"""Orientation and position of a photo, from EXIF that may be damaged or hostile."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image

from landmark_ml.inference.photos.headers import MAX_EXIF_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

_DEGREES = {"N": (1, 90), "S": (-1, 90), "E": (1, 180), "W": (-1, 180)}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def apply_orientation(image: Image.Image) -> Image.Image:
    """Turn and mirror a loaded picture upright; leave it as it is if its EXIF cannot be read."""
    try:
        orientation = _exif(image).get(ExifTags.Base.Orientation, 1)
        turn = _TURNS.get(orientation)
    except Exception as error:
        # PIL parses foreign bytes here and may raise anything. The pixels may still be good.
        logger.debug("unreadable EXIF orientation taken as upright: %r", error)
        turn = None
    return image if turn is None else image.transpose(turn)


def gps_position(image: Image.Image) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees from the GPS tags; None when absent, damaged or 0, 0."""
    try:
        gps = _exif(image).get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS")
        longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW")
    except Exception as error:
        # As above; a photo without a readable position is an ordinary photo.
        logger.debug("unreadable EXIF position ignored: %r", error)
        return None
    # Cameras without a fix write zeros.
    return None if latitude == 0 and longitude == 0 else (latitude, longitude)


def _exif(image: Image.Image) -> Image.Exif:
    size = len(image.info.get("exif", b""))
    if size > MAX_EXIF_BYTES:
        raise ValueError(f"EXIF of {size} bytes is over {MAX_EXIF_BYTES}: not a camera's")
    return image.getexif()


def _degrees(gps: Mapping[int, Any], value_tag: int, letter_tag: int, letters: str) -> float:
    """Signed decimal degrees of one coordinate; raises unless it is three valid rationals."""
    letter = gps[letter_tag]
    letter = letter.decode("ascii") if isinstance(letter, bytes) else letter
    letter = letter.strip("\0 ").upper()
    degrees, minutes, seconds = (float(part) for part in gps[value_tag])
    if letter not in letters or not letter:
        raise ValueError(f"{letter!r} is not one of {letters}")
    sign, limit = _DEGREES[letter]
    if not (0 <= minutes <= 60 and 0 <= seconds <= 60 and degrees >= 0):
        raise ValueError(f"{degrees} degrees, {minutes} minutes, {seconds} seconds is not an angle")
    angle = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(angle) or angle > limit:
        raise ValueError(f"{angle} degrees is beyond {limit}")
    return sign * angle
