"""The pages of a gallery as a reader of HTML sees them: elements, text, where addresses lead."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from landmark_ml.config import TagConfig

VOID = {"meta", "img", "rect", "link", "br", "input"}


@dataclass
class Read(HTMLParser):
    """One page: its elements with their attributes, and its text."""

    path: Path
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open) and data.strip():
            self.text.append(data.strip())

    def addresses(self, *names: str) -> list[str]:
        """Values of attributes of these names that are addresses of other files."""
        found = [attributes.get(name) for _, attributes in self.elements for name in names]
        return [address for address in found if address and not address.startswith(("#", "geo:"))]

    def leads_to(self, address: str) -> Path:
        """The file that a relative address means, seen from this page."""
        parts = urlsplit(address)
        assert not parts.scheme, address
        assert not parts.netloc, address
        assert not parts.query, address
        way = os.fsdecode(unquote_to_bytes(parts.path))
        return Path(os.path.normpath(self.path.parent / way))


def read_gallery(folder: Path) -> list[Read]:
    """All pages of a gallery, the first one first."""
    return [Read(folder / "index.html"), *map(Read, sorted((folder / "albums").glob("*.html")))]


def gallery(config: TagConfig) -> Path:
    return Path(config.out) / "gallery"


def thumbs(config: TagConfig) -> dict[Path, int]:
    """Thumbnails, and when they were written."""
    found = (gallery(config) / "thumbs").rglob("*")
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}
