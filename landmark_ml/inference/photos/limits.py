"""What a photo may ask of us, and the error that refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from landmark_ml.inference.photos.headers import jpeg_scans, tiff_longest_array

if TYPE_CHECKING:
    from PIL import ImageFile

PhotoErrorCode = Literal[
    "empty", "not_an_image", "truncated", "too_many_bytes", "too_many_pixels", "unsupported"
]

# PIL keeps a pointer for each row: a picture of 1 x 60,000,000 pixels costs far more than it shows.
_MAX_SIDE = 100_000
# A progressive photo has about ten scans; each one more walks over the whole picture again.
_MAX_JPEG_SCANS = 200
_MAX_TIFF_ARRAY = 200_000
_MIN_TILE_PIXELS = 1 << 22
# The animation decoder through which every WebP goes holds about twice the memory of the others.
_COPIES = {"WEBP": 2}


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
    """What a photo may ask for: bytes of the file, pixels of the picture at full size.

    A WebP may have half the pixels. At the default limits decoding peaks at about 600 MB.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = PhotoLimits()


def check_bytes(size: int, limits: PhotoLimits) -> None:
    """Refuse a file of more bytes than the limit."""
    if size > limits.max_bytes:
        reason = f"{size:,} bytes are over the limit of {limits.max_bytes:,}: export it smaller"
        raise PhotoError("too_many_bytes", reason)


def check_size(size: tuple[int, int], limits: PhotoLimits, kind: str) -> None:
    """Refuse a (width, height) of too many pixels, or with a side no photo has."""
    width, height = size
    most = limits.max_pixels // _COPIES.get(kind, 1)
    if width * height > most:
        reason = f"{width} x {height} is over the limit of {most:,} pixels for a {kind}"
        raise PhotoError("too_many_pixels", f"{reason}: export it smaller")
    if max(size) > _MAX_SIDE:
        reason = f"{width} x {height} has a side over {_MAX_SIDE:,} pixels: crop it"
        raise PhotoError("too_many_pixels", reason)


def check_structure(data: bytes, kind: str) -> None:
    """Refuse a file built to keep its decoder busy: endless JPEG scans, endless TIFF tags."""
    scans = jpeg_scans(data) if kind == "JPEG" else 0
    if scans > _MAX_JPEG_SCANS:
        reason = f"a JPEG of {scans} scans is over {_MAX_JPEG_SCANS}: save it again"
        raise PhotoError("unsupported", reason)
    values = tiff_longest_array(data) if kind == "TIFF" else 0
    if values > _MAX_TIFF_ARRAY:
        reason = f"a TIFF tag of {values} values is over {_MAX_TIFF_ARRAY}: save it again"
        raise PhotoError("unsupported", reason)


def check_tiles(image: ImageFile.ImageFile) -> None:
    """Refuse a TIFF whose tiles, which are decoded whole, dwarf its picture."""
    if not isinstance(image, TiffImageFile):
        return
    tile = int(image.tag_v2.get(TILEWIDTH, 0)) * int(image.tag_v2.get(TILELENGTH, 0))
    if tile > max(4 * image.width * image.height, _MIN_TILE_PIXELS):
        reason = f"a tile of {tile:,} pixels in a picture of {image.width} x {image.height}"
        raise PhotoError("unsupported", f"{reason}: save it again without tiles")
