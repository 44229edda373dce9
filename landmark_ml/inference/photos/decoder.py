"""From the bytes of a photo to its pixels: the one decoder of training, evaluation and serving.

Needs the standard library, PIL, pillow-heif and numpy. Photos come from strangers, so sizes are
checked in the header, before memory is allocated for the pixels.
"""

from __future__ import annotations

import io
import logging
import math
import re
import stat
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import COMPRESSION, TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from landmark_ml.inference.photos.headers import (
    DEFAULT_LIMITS,
    MAX_EXIF_BYTES,
    PhotoError,
    PhotoLimits,
    check_header,
    check_size,
    check_tiff_exif,
    is_cut_short,
    jpeg_has_exif,
    other_format,
    photo_format,
)
from landmark_ml.inference.photos.raw import camera_exif, is_raw, raw_preview

logger = logging.getLogger(__name__)

# PIL warns of every damaged EXIF tag, of which a photo may have 60,000, and Python keeps each text.
warnings.filterwarnings("ignore", module=r"PIL\.")

_Plugin = Callable[[io.BytesIO], ImageFile.ImageFile]

# Called directly, because Image.open would try other formats (EPS runs Ghostscript), warn about
# sizes that are refused here anyway, and fill PIL's global registry.
_PLUGINS: dict[str, _Plugin] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "HEIC": HeifImageFile,
}
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, HEIC or raw"
_NO_PREVIEW = "a raw file without a preview: export it as JPEG"
_UNSUPPORTED = re.compile(r"unsupported|not .*(support|install)|unknown pixel mode", re.IGNORECASE)

_FAX_CODINGS = (2, 3)
_MIN_TILE_PIXELS = 1 << 22
_BAND_PIXELS = 1 << 21
_WHITE = (255, 255, 255)
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


def decode_photo(
    source: bytes | Path,
    *,
    min_side: int | None = None,
    limits: PhotoLimits = DEFAULT_LIMITS,
    name: str | None = None,
) -> Image.Image:
    """Decode the first frame of a photo to an upright 8-bit RGB picture, colours unconverted.

    With `min_side`, a JPEG is decoded at the smallest of libjpeg's scales 1/1, 1/2, 1/4 and 1/8
    whose short side is still at least `min_side`; the picture may be larger, and the caller
    resizes. Other formats come at full size. `name` stands in errors; a path brings its own.

    Raises:
        PhotoError: the photo is refused, whatever the decoder raised.
        OSError: the file cannot be opened (missing, a folder, no permission).
    """
    if name is None and isinstance(source, Path):
        name = source.name
    try:
        data = read_photo(source, limits)
        return _pixels(_open(data, limits), min_side)
    except PhotoError as error:
        raise PhotoError(error.code, error.reason, name) from error.__cause__


def read_location(source: bytes | Path) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of a photo's EXIF; None when it carries no sound position.

    Raises OSError when the file cannot be opened (missing, a folder, no permission).
    """
    exif = _read_exif(source)
    return None if exif is None else _gps_position(exif)


def read_capture(source: bytes | Path) -> tuple[str, datetime] | None:
    """(camera, local time) of a photo's EXIF; None when it carries no time.

    camera: make, model and serial number, as far as they are given; empty without a model.
    Raises OSError when the file cannot be opened (missing, a folder, no permission).
    """
    exif = _read_exif(source)
    return None if exif is None else _capture(exif)


def _read_exif(source: bytes | Path) -> Image.Exif | None:
    """EXIF of a photo; None for one that carries none that can be read, or is refused."""
    try:
        data = read_photo(source, DEFAULT_LIMITS)
        if photo_format(data) == "JPEG" and not jpeg_has_exif(data):
            return None
        image = _open(data, DEFAULT_LIMITS)
    except ValueError:
        return None
    # The PNG plugin would decode the pixels to look for EXIF behind them.
    if image.format == "PNG" and b"eXIf" not in data and b"Raw profile type" not in data:
        return None
    try:
        if image.format != "TIFF":
            return _exif(image)
        bounded = Image.Exif()
        bounded.load(camera_exif(data))
    except Exception as error:
        # PIL parses foreign bytes here and may raise anything.
        logger.debug("unreadable EXIF ignored: %r", error)
        return None
    return bounded


def read_photo(source: bytes | Path, limits: PhotoLimits = DEFAULT_LIMITS) -> bytes:
    """Read the bytes of a photo, and no more of a file than may be decoded.

    Of a camera's raw file they are a JPEG: the preview that lies in it. Raises PhotoError when
    there are too many bytes, or none, OSError when the file cannot be opened.
    """
    if isinstance(source, Path):
        source = read_at_most(source, limits.max_bytes + 1)
    if photo_format(source) in ("RAW", "TIFF"):
        source = raw_preview(source) or source
    if len(source) > limits.max_bytes:
        reason = f"{len(source):,} bytes are over the limit of {limits.max_bytes:,}"
        raise PhotoError("too_many_bytes", f"{reason}: export it smaller")
    if not source:
        raise PhotoError("empty", "the photo has no bytes: upload or copy it again")
    return source


def read_at_most(path: Path, most: int = DEFAULT_LIMITS.max_bytes + 1) -> bytes:
    """Read a file, and at most `most` bytes of it: by default those that a photo is known by.

    Raises PhotoError when it is a pipe or a device, OSError when it cannot be opened.
    """
    state = path.stat()
    # Opening a pipe would wait for a writer.
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise PhotoError("not_an_image", "is a pipe or a device, not a file: leave it out")
    with path.open("rb") as file:
        # `read(most)` would allocate that much for every photo.
        return file.read(min(state.st_size + 1, most))


def _open(data: bytes, limits: PhotoLimits) -> ImageFile.ImageFile:
    """Read and check the header; no pixel is decoded."""
    kind = photo_format(data)
    if kind is None:
        if other := other_format(data):
            raise PhotoError("unsupported", f"{other} files are not read: export it as {_READABLE}")
        raise PhotoError("not_an_image", f"not a picture: give a {_READABLE} file")
    if kind == "RAW":
        raise PhotoError("unsupported", _NO_PREVIEW)
    plugin = _PLUGINS[kind]
    try:
        check_header(data, kind, limits)
        image = plugin(io.BytesIO(data))
        check_size(image.size, limits, kind)
        if isinstance(image, TiffImageFile):
            _check_tiff_tags(image, data)
    except PhotoError:
        raise
    except Exception as error:
        # On bad bytes PIL's plugins raise anything from SyntaxError to struct.error, and all of it
        # means that the photo cannot be read.
        if is_cut_short(data, kind):
            raise _damaged(error) from error
        if kind == "TIFF" and is_raw(data):
            raise PhotoError("unsupported", _NO_PREVIEW) from error
        raise _header_error(kind, error) from error
    return image


def _check_tiff_tags(image: TiffImageFile, data: bytes) -> None:
    """Refuse fax codings, endless EXIF, and tiles far larger than the picture.

    Tiles are decoded whole.
    """
    # Of each damaged line of pixels, libtiff writes a line to stderr: 6 MB for a file of 10 KB.
    if image.tag_v2.get(COMPRESSION) in _FAX_CODINGS:
        raise PhotoError("unsupported", "a TIFF coded as a fax is not read: export it as JPEG")
    tile = int(image.tag_v2.get(TILEWIDTH, 0)) * int(image.tag_v2.get(TILELENGTH, 0))
    if tile > max(4 * image.width * image.height, _MIN_TILE_PIXELS):
        reason = f"a tile of {tile:,} pixels in a picture of {image.width} x {image.height}"
        raise PhotoError("unsupported", f"{reason}: save it again without tiles")
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if isinstance(at := image.tag_v2.get(directory), int):
            check_tiff_exif(data, at)


def _header_error(kind: str, error: Exception) -> PhotoError:
    if _is_too_large(error):
        return PhotoError("too_many_pixels", f"too large to decode ({error}): export it smaller")
    if _UNSUPPORTED.search(str(error)):
        return PhotoError("unsupported", f"a {kind} that is not read ({error}): export it as JPEG")
    reason = f"starts like a {kind} but its header cannot be read ({error}): export it again"
    return PhotoError("not_an_image", reason)


def _is_too_large(error: Exception) -> bool:
    # The second: libheif, when a HEIC has more pixels than it says.
    is_bomb = isinstance(error, (Image.DecompressionBombError, MemoryError))
    return is_bomb or "Security limit exceeded" in str(error)


def _damaged(error: Exception) -> PhotoError:
    reason = f"pixels are missing or damaged ({error}): upload or copy it again"
    return PhotoError("truncated", reason)


def _pixels(image: ImageFile.ImageFile, min_side: int | None) -> Image.Image:
    try:
        if min_side is not None and isinstance(image, JpegImageFile):
            image.draft(None, (min_side, min_side))
        image.load()
    except Exception as error:
        if _is_too_large(error):
            raise _header_error(str(image.format), error) from error
        # As in `_open`; the header was good, so the pixels are bad.
        raise _damaged(error) from error
    try:
        rgb = _to_rgb(_upright(image))
    except Exception as error:
        reason = f"pixels of mode {image.mode} cannot be shown as RGB ({error}): export it as JPEG"
        raise PhotoError("unsupported", reason) from error
    if isinstance(rgb, ImageFile.ImageFile):
        # The plugin's own object would keep the file and the decoder's buffers in memory.
        rgb = rgb.copy()
    # Without the file's EXIF, which asks for a rotation that is done already.
    profile = rgb.info.get("icc_profile")
    rgb.info = {} if profile is None else {"icc_profile": profile}
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB: transparency on white, deep greys to 8 bits.

    16-bit greys are divided by 257. 32-bit integers are read as 0..255 or 0..65535 and floats as
    0..1 or 0..255 where they fit; otherwise their minimum becomes black and their maximum white.
    NaN becomes black.
    """
    if image.mode.startswith(("I", "F")):
        image = _grey8(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode in ("LA", "RGBA"):
        return _on_white(image)
    if image.mode == "PA" or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", image.size, _WHITE)
    # Pasting with the picture as its own mask needs no second full-size copy.
    canvas.paste(image, mask=image)
    return canvas


def _grey8(image: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits in 8, as `_to_rgb` says; in bands of rows, which need less memory."""
    values, floating = np.asarray(image), image.mode.startswith("F")
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        finite = np.isfinite(values)
        if finite.any():
            some = values.flat[int(finite.argmax())]
            low, high = (float(f(values, where=finite, initial=some)) for f in (np.min, np.max))
        if low >= 0 and high <= 255:
            low, high = 0.0, 1.0 if floating and high <= 1 else 255.0
        elif low >= 0 and high <= 65535 and not floating:
            low, high = 0.0, 65535.0
    span, rows = (high - low) or 1.0, max(1, _BAND_PIXELS // image.width)
    grey = np.empty(values.shape, np.uint8)
    for top in range(0, image.height, rows):
        # Divided first, because the difference of two extreme floats would overflow.
        part = values[top : top + rows].astype(np.float64) / span - low / span
        part = np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0)
        grey[top : top + rows] = np.rint(np.clip(part, 0.0, 1.0) * 255)
    return Image.fromarray(grey)


def _upright(image: Image.Image) -> Image.Image:
    """Turn and mirror a loaded picture upright; leave it as it is if its EXIF cannot be read."""
    try:
        orientation = _exif(image).get(ExifTags.Base.Orientation, 1)
        turn = _TURNS.get(orientation)
    except Exception as error:
        # PIL parses foreign bytes here and may raise anything. The pixels may still be good.
        logger.debug("unreadable EXIF orientation taken as upright: %r", error)
        turn = None
    return image if turn is None else image.transpose(turn)


def _gps_position(exif: Image.Exif) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees from the GPS tags; None when absent, damaged or 0, 0."""
    try:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS")
        longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW")
    except Exception as error:
        # As above; a photo without a readable position is an ordinary photo.
        logger.debug("unreadable EXIF position ignored: %r", error)
        return None
    # Cameras without a fix write zeros.
    return None if latitude == 0 and longitude == 0 else (latitude, longitude)


def _capture(exif: Image.Exif) -> tuple[str, datetime] | None:
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        taken = datetime.strptime(
            str(details[ExifTags.Base.DateTimeOriginal]).strip("\0 "), "%Y:%m:%d %H:%M:%S"
        )
        model = str(exif.get(ExifTags.Base.Model, ""))
    except Exception as error:
        # As above; most photos from the web carry none.
        logger.debug("no time in the EXIF: %r", error)
        return None
    if not model:
        return "", taken
    make = str(exif.get(ExifTags.Base.Make, ""))
    serial = str(details.get(ExifTags.Base.BodySerialNumber, ""))
    return " ".join(part.strip("\0 ") for part in (make, model, serial)), taken


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
