"""Keywords as older programs write them into a photo: dataset 2:25 of IPTC's IIM."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING

from PIL import IptcImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

if TYPE_CHECKING:
    from pathlib import Path

_BREAK = re.compile("[\t\n\r]+")
_NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")

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
    for encoding in ("utf-8", "cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            return _NOT_IN_XML.sub("", _BREAK.sub(" ", keyword.decode(encoding))).strip()
    raise AssertionError("latin-1 reads every byte")
