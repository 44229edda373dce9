"""Keywords as older programs write them into a photo: dataset 2:25 of IPTC's IIM."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PIL import IptcImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_KEYWORDS = (2, 25)
_KINDS: dict[bytes, type[JpegImageFile] | type[TiffImageFile]] = {
    b"\xff\xd8": JpegImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
}


def iptc_keywords(photo: Path) -> list[str]:
    """Keywords of a JPEG or TIFF file, each once; none where they cannot be read.

    Raises OSError for a file that cannot be opened.
    """
    with photo.open("rb") as file:
        kind = _KINDS.get(file.read(2))
        if kind is None:
            return []
        file.seek(0)
        try:
            found = (IptcImagePlugin.getiptcinfo(kind(file)) or {}).get(_KEYWORDS, [])
        except Exception as error:
            # Foreign bytes parsed in Python: anything can be raised by a damaged block.
            logger.debug("unreadable IPTC block ignored: %r", error)
            return []
    # An empty one is None in what Pillow finds.
    texts = [_text(word) for word in (found if isinstance(found, list) else [found]) if word]
    return list(dict.fromkeys(text for text in texts if text))


def _text(keyword: bytes) -> str:
    """A keyword in the encoding that it is in, without what no XML may hold."""
    try:
        text = keyword.decode()
    except UnicodeDecodeError:
        text = keyword.decode("latin-1")
    return "".join(letter for letter in text if letter.isprintable()).strip()
