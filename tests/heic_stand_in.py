"""A HEIC file, and pillow-heif as it is absent first and installed later."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO

from PIL.JpegImagePlugin import JpegImageFile

if TYPE_CHECKING:
    import pytest

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def without_plugin(patch: pytest.MonkeyPatch) -> None:
    """Let importing pillow-heif fail."""
    patch.setitem(sys.modules, "pillow_heif", None)


def with_plugin(patch: pytest.MonkeyPatch, shown: bytes) -> None:
    """Install a pillow-heif that finds the picture of this JPEG in every file."""

    def opened(_: BinaryIO) -> JpegImageFile:
        return JpegImageFile(io.BytesIO(shown))

    patch.setitem(sys.modules, "pillow_heif", SimpleNamespace(HeifImageFile=opened))
