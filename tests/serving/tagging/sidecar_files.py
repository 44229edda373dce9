"""Sidecars that a user wrote."""

from __future__ import annotations

from pathlib import Path

from serving.tagging.xmp import Xmp


def written(path: Path, **properties: str | list[str]) -> Path:
    """A user's sidecar; names are spelled with __ for the colon."""
    xmp = Xmp.new()
    for name, value in properties.items():
        if isinstance(value, str):
            xmp.set_text(name.replace("__", ":"), value)
        else:
            xmp.add_items(name.replace("__", ":"), value, "Bag")
    path.write_bytes(xmp.to_bytes())
    return path
