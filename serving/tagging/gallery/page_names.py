"""Names of a gallery's pages: readable, the same from run to run, and safe on every file system."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING

from serving.tagging.gallery.shelf import Apart

if TYPE_CHECKING:
    from serving.tagging.albums import Album

_LONGEST = 60
_OURS = re.compile(r"(?:unplaced|refused|(?:[a-z0-9]+-)*[0-9a-f]{10})(?:-\d+)?\.html")


def page_name(section: Album | Apart, number: int = 1) -> str:
    """`france-paris-eiffel-tower-1a2b3c4d5e.html`, and `…-2.html` for its second page."""
    name = section.value if isinstance(section, Apart) else _album_name(section)
    return f"{name}.html" if number == 1 else f"{name}-{number}.html"


def is_page(name: str) -> bool:
    """Whether a file is called like a page."""
    return _OURS.fullmatch(name) is not None


def _album_name(album: Album) -> str:
    # Two albums may look the same without accents, and some have no letter of ASCII at all.
    digest = hashlib.sha256(json.dumps(album).encode()).hexdigest()[:10]
    plain = unicodedata.normalize("NFKD", " ".join(album.names)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join([*"-".join(words)[:_LONGEST].strip("-").split("-"), digest]).lstrip("-")
