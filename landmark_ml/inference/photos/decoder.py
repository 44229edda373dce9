"""From the bytes of a photo to its pixels: the one decoder of training, evaluation and serving.

Needs the standard library, PIL and numpy; `pillow-heif` only when a HEIC photo is met. Photos come
from strangers, so sizes are checked in the header, before anything is allocated for the pixels.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from landmark_ml.inference.photos.exif import apply_orientation, gps_position
from landmark_ml.inference.photos.headers import (
    claimed_size,
    is_cut_short,
    jpeg_scan_start,
    other_format,
    photo_format,
)
from landmark_ml.inference.photos.limits import (
    DEFAULT_LIMITS,
    PhotoError,
    PhotoLimits,
    check_bytes,
    check_size,
    check_structure,
    check_tiles,
)
from landmark_ml.inference.photos.rgb import to_rgb

_Plugin = Callable[[io.BytesIO], ImageFile.ImageFile]

# One plugin class a format, called directly: Image.open would try others (EPS runs Ghostscript),
# warn about sizes that are refused here anyway, and fill PIL's global registry.
_PLUGINS: dict[str, _Plugin] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP or HEIC"
_JPEG_EXIF = b"Exif\x00\x00"
_UNSUPPORTED = re.compile(r"unsupported|not .*(support|install)|unknown pixel mode", re.IGNORECASE)


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
    if min_side is not None and min_side < 1:
        raise ValueError(f"min_side is {min_side}: give a number of pixels of 1 or more, or None")
    if name is None and isinstance(source, Path):
        name = source.name
    try:
        data = read_photo(source, limits)
        return _pixels(_open(data, limits), min_side)
    except PhotoError as error:
        raise PhotoError(error.code, error.reason, name) from error.__cause__


def read_location(source: bytes | Path) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of a photo's EXIF; None when it carries no sound position.

    Raises:
        OSError: the file cannot be opened (missing, a folder, no permission).
    """
    try:
        data = read_photo(source, DEFAULT_LIMITS)
        # Many photos carry no EXIF: looking for it costs less than opening them, and it stands in
        # the header, before all that is large.
        if photo_format(data) == "JPEG" and data.find(_JPEG_EXIF, 0, jpeg_scan_start(data)) < 0:
            return None
        image = _open(data, DEFAULT_LIMITS)
    except ValueError:
        return None
    # Asked for EXIF it has not met, the PNG plugin decodes the pixels to look behind them.
    if image.format == "PNG" and b"eXIf" not in data and b"Raw profile type" not in data:
        return None
    return gps_position(image)


def read_photo(source: bytes | Path, limits: PhotoLimits = DEFAULT_LIMITS) -> bytes:
    """Bytes of a photo, no more of a file than may be decoded.

    Raises:
        PhotoError: there are too many bytes, or none.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Path):
        status = source.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
            # Opening a pipe waits for somebody to write into it, and a device may have no end.
            raise PhotoError("not_an_image", "is a pipe or a device, not a file: leave it out")
        check_bytes(status.st_size, limits)
        source = read_at_most(source, status.st_size, limits.max_bytes + 1)
    check_bytes(len(source), limits)
    if not source:
        raise PhotoError("empty", "the photo has no bytes: upload or copy it again")
    return source


def read_at_most(path: Path, size: int, most: int) -> bytes:
    """Bytes of a file that claims a size, and no more of one that grows than `most`.

    Raises OSError when it cannot be opened.
    """
    with path.open("rb") as file:
        # Room for `most` would be made for every photo; one byte more than claimed tells of a file
        # that grows.
        data = file.read(min(size + 1, most))
        return data if len(data) <= size else data + file.read(most - len(data))


def _open(data: bytes, limits: PhotoLimits) -> ImageFile.ImageFile:
    """Picture with its header read and checked, no pixel decoded."""
    kind = photo_format(data)
    if kind is None:
        raise _not_a_photo(data)
    plugin = _heif_plugin() if kind == "HEIC" else _PLUGINS[kind]
    try:
        claimed = claimed_size(data, kind)
        if claimed is not None:
            check_size(claimed, limits, kind)
        check_structure(data, kind)
        image = plugin(io.BytesIO(data))
        check_size(image.size, limits, kind)
        check_tiles(image)
    except PhotoError:
        raise
    except Exception as error:
        # The one boundary to the decoders: on bad bytes they raise anything from SyntaxError to
        # struct.error, and each of those means the same here, a photo that cannot be read.
        if is_cut_short(data, kind):
            raise _damaged(error) from error
        raise _header_error(kind, error) from error
    return image


def _not_a_photo(data: bytes) -> PhotoError:
    other = other_format(data)
    if other is None:
        return PhotoError("not_an_image", f"not a picture: give a {_READABLE} file")
    return PhotoError("unsupported", f"{other} files are not read: export it as {_READABLE}")


def _heif_plugin() -> _Plugin:
    try:
        from pillow_heif import HeifImageFile  # noqa: PLC0415
    except ImportError as error:
        reason = "HEIC needs pillow-heif: pip install pillow-heif, or export it as JPEG"
        raise PhotoError("unsupported", reason) from error
    plugin: _Plugin = HeifImageFile
    return plugin


def _header_error(kind: str, error: Exception) -> PhotoError:
    if isinstance(error, (Image.DecompressionBombError, MemoryError)):
        return PhotoError("too_many_pixels", f"too large to decode ({error}): export it smaller")
    if _UNSUPPORTED.search(str(error)):
        return PhotoError("unsupported", f"a {kind} that is not read ({error}): export it as JPEG")
    reason = f"starts like a {kind} but its header cannot be read ({error}): export it again"
    return PhotoError("not_an_image", reason)


def _damaged(error: Exception) -> PhotoError:
    reason = f"pixels are missing or damaged ({error}): upload or copy it again"
    return PhotoError("truncated", reason)


def _pixels(image: ImageFile.ImageFile, min_side: int | None) -> Image.Image:
    try:
        if min_side is not None and isinstance(image, JpegImageFile):
            image.draft(None, (min_side, min_side))
        image.load()
    except (Image.DecompressionBombError, MemoryError) as error:
        raise _header_error(str(image.format), error) from error
    except Exception as error:
        # The same boundary: the header was good, so what failed is the pixels.
        raise _damaged(error) from error
    try:
        rgb = to_rgb(apply_orientation(image))
    except Exception as error:
        reason = f"pixels of mode {image.mode} cannot be shown as RGB ({error}): export it as JPEG"
        raise PhotoError("unsupported", reason) from error
    return _bare(rgb)


def _bare(image: Image.Image) -> Image.Image:
    """Drop the file's EXIF, which tells of a turn that is already made, and its decoder."""
    if isinstance(image, ImageFile.ImageFile):
        # The plugin's own object would hold the file and the decoder's buffers alive.
        image = image.copy()
    profile = image.info.get("icc_profile")
    image.info = {} if profile is None else {"icc_profile": profile}
    return image
