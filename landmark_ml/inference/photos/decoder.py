"""From the bytes of a photo to its pixels: the one decoder of training, evaluation and serving.

Needs the standard library, PIL and numpy; `pillow-heif` only for a HEIC photo. Photos come from
strangers, so sizes are checked in the header, before memory is allocated for the pixels.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from landmark_ml.inference.photos.exif import apply_orientation, gps_position
from landmark_ml.inference.photos.headers import (
    claimed_size,
    is_cut_short,
    jpeg_scan_start,
    jpeg_scans,
    other_format,
    photo_format,
    tiff_longest_array,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PhotoErrorCode = Literal[
    "empty", "not_an_image", "truncated", "too_many_bytes", "too_many_pixels", "unsupported"
]

# PIL keeps a pointer for each row, so a picture of 1 x 60,000,000 pixels takes far more memory.
_MAX_SIDE = 100_000
# A progressive photo has about ten scans, and each one decodes the whole picture again.
_MAX_JPEG_SCANS = 200
_MAX_TIFF_ARRAY = 200_000
_MIN_TILE_PIXELS = 1 << 22
# PIL decodes every WebP with the animation decoder, which takes about twice the memory.
_COPIES = {"WEBP": 2}

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
}
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP or HEIC"
_JPEG_EXIF = b"Exif\x00\x00"
_UNSUPPORTED = re.compile(r"unsupported|not .*(support|install)|unknown pixel mode", re.IGNORECASE)

_STRIP_PIXELS = 1 << 21
_WHITE = (255, 255, 255)

_Numbers = npt.NDArray[np.generic]


class PhotoError(ValueError):
    """A photo that is refused: a stable `code`, a `reason` with the fix, the file's `name`."""

    def __init__(self, code: PhotoErrorCode, reason: str, name: str | None = None) -> None:
        # Decoders' messages, quoted in reasons, may run over several lines.
        reason = " ".join(reason.split())
        super().__init__(f"{name}: {reason}" if name else reason)
        self.code: PhotoErrorCode = code
        self.reason = reason
        self.name = name

    def __reduce__(self) -> tuple[type[PhotoError], tuple[PhotoErrorCode, str, str | None]]:
        """Rebuild from the three fields: exceptions otherwise unpickle from their message alone."""
        return type(self), (self.code, self.reason, self.name)


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """Largest photo to decode: bytes of the file, pixels of the picture at full size.

    A WebP may have half the pixels. At the default limits decoding peaks at about 600 MB.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = PhotoLimits()


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

    Raises OSError when the file cannot be opened (missing, a folder, no permission).
    """
    try:
        data = read_photo(source, DEFAULT_LIMITS)
        # Many JPEGs carry no EXIF. Searching the header for it is cheaper than opening the photo.
        if photo_format(data) == "JPEG" and data.find(_JPEG_EXIF, 0, jpeg_scan_start(data)) < 0:
            return None
        image = _open(data, DEFAULT_LIMITS)
    except ValueError:
        return None
    # The PNG plugin would decode the pixels to look for EXIF behind them.
    if image.format == "PNG" and b"eXIf" not in data and b"Raw profile type" not in data:
        return None
    return gps_position(image)


def read_photo(source: bytes | Path, limits: PhotoLimits = DEFAULT_LIMITS) -> bytes:
    """Read the bytes of a photo, and no more of a file than may be decoded.

    Raises PhotoError when there are too many bytes, or none, OSError when the file cannot be
    opened.
    """
    if isinstance(source, Path):
        status = source.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
            # Opening a pipe waits for a writer, and a device may have no end.
            raise PhotoError("not_an_image", "is a pipe or a device, not a file: leave it out")
        check_bytes(status.st_size, limits)
        source = read_at_most(source, status.st_size, limits.max_bytes + 1)
    check_bytes(len(source), limits)
    if not source:
        raise PhotoError("empty", "the photo has no bytes: upload or copy it again")
    return source


def check_bytes(size: int, limits: PhotoLimits = DEFAULT_LIMITS) -> None:
    """Refuse a file of more bytes than the limit."""
    if size > limits.max_bytes:
        reason = f"{size:,} bytes are over the limit of {limits.max_bytes:,}: export it smaller"
        raise PhotoError("too_many_bytes", reason)


def read_at_most(path: Path, size: int, most: int) -> bytes:
    """Read a file of `size` bytes, and at most `most` bytes of one that grows meanwhile.

    Raises OSError when it cannot be opened.
    """
    with path.open("rb") as file:
        # `read(most)` would allocate that much for every photo. One byte over the size shows
        # that the file has grown.
        data = file.read(min(size + 1, most))
        return data if len(data) <= size else data + file.read(most - len(data))


def _open(data: bytes, limits: PhotoLimits) -> ImageFile.ImageFile:
    """Read and check the header; no pixel is decoded."""
    kind = photo_format(data)
    if kind is None:
        if other := other_format(data):
            raise PhotoError("unsupported", f"{other} files are not read: export it as {_READABLE}")
        raise PhotoError("not_an_image", f"not a picture: give a {_READABLE} file")
    plugin = _heif_plugin() if kind == "HEIC" else _PLUGINS[kind]
    try:
        claimed = claimed_size(data, kind)
        if claimed is not None:
            _check_size(claimed, limits, kind)
        _check_structure(data, kind)
        image = plugin(io.BytesIO(data))
        _check_size(image.size, limits, kind)
        _check_tiles(image)
    except PhotoError:
        raise
    except Exception as error:
        # On bad bytes PIL's plugins raise anything from SyntaxError to struct.error, and all of it
        # means that the photo cannot be read.
        if is_cut_short(data, kind):
            raise _damaged(error) from error
        raise _header_error(kind, error) from error
    return image


def _check_size(size: tuple[int, int], limits: PhotoLimits, kind: str) -> None:
    """Refuse a (width, height) of too many pixels, or with a side no photo has."""
    width, height = size
    most = limits.max_pixels // _COPIES.get(kind, 1)
    if width * height > most:
        reason = f"{width} x {height} is over the limit of {most:,} pixels for a {kind}"
        raise PhotoError("too_many_pixels", f"{reason}: export it smaller")
    if max(size) > _MAX_SIDE:
        reason = f"{width} x {height} has a side over {_MAX_SIDE:,} pixels: crop it"
        raise PhotoError("too_many_pixels", reason)


def _check_structure(data: bytes, kind: str) -> None:
    """Refuse a file made to keep its decoder busy: endless JPEG scans, endless TIFF tags."""
    scans = jpeg_scans(data) if kind == "JPEG" else 0
    if scans > _MAX_JPEG_SCANS:
        reason = f"a JPEG of {scans} scans is over {_MAX_JPEG_SCANS}: save it again"
        raise PhotoError("unsupported", reason)
    values = tiff_longest_array(data) if kind == "TIFF" else 0
    if values > _MAX_TIFF_ARRAY:
        reason = f"a TIFF tag of {values} values is over {_MAX_TIFF_ARRAY}: save it again"
        raise PhotoError("unsupported", reason)


def _check_tiles(image: ImageFile.ImageFile) -> None:
    """Refuse a TIFF whose tiles, which are decoded whole, are far larger than its picture."""
    if not isinstance(image, TiffImageFile):
        return
    tile = int(image.tag_v2.get(TILEWIDTH, 0)) * int(image.tag_v2.get(TILELENGTH, 0))
    if tile > max(4 * image.width * image.height, _MIN_TILE_PIXELS):
        reason = f"a tile of {tile:,} pixels in a picture of {image.width} x {image.height}"
        raise PhotoError("unsupported", f"{reason}: save it again without tiles")


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
        # As in `_open`; the header was good, so the pixels are bad.
        raise _damaged(error) from error
    try:
        rgb = _to_rgb(apply_orientation(image))
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
    scale = _scale16 if image.mode.startswith("I;16") else _scale_for(image)
    grey = Image.new("L", image.size)
    for top, values in _strips(image):
        grey.paste(Image.fromarray(scale(values)), (0, top))
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[int, _Numbers]]:
    """(top row, values) of bands of rows, so that no second copy of a deep picture is made."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = (0, top, image.width, min(top + rows, image.height))
        yield top, np.asarray(image.crop(band))


def _scale16(values: _Numbers) -> npt.NDArray[np.uint8]:
    wide = values.astype(np.uint32)
    return ((wide + 128) // 257).astype(np.uint8)


def _scale_for(image: Image.Image) -> Callable[[_Numbers], npt.NDArray[np.uint8]]:
    low, high = _finite_range(image)
    floating = image.mode.startswith("F")
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if floating and high <= 1 else 255.0
    elif low >= 0 and high <= 65535 and not floating:
        low, high = 0.0, 65535.0
    span = (high - low) or 1.0

    def scale(values: _Numbers) -> npt.NDArray[np.uint8]:
        # Divided first, because the difference of two extreme floats would overflow.
        part = values.astype(np.float64) / span - low / span
        part = np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0)
        return np.rint(np.clip(part, 0.0, 1.0) * 255).astype(np.uint8)

    return scale


def _finite_range(image: Image.Image) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, values in _strips(image):
        numbers = values.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 0.0)
