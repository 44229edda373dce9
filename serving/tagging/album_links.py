"""Links to the photos of an album, made anew each time; nothing else in their folder is touched."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.files import is_of_the_system
from serving.tagging.walk import PHOTO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_NAME = 120
"""Bytes of a name, of which file systems take 255: a letter has up to four of them."""

_MADE_HERE = re.compile(r".*-[0-9a-f]{8}", re.DOTALL)


def link_name(path: Path) -> str:
    """Name that no other photo of the library has, whatever folder it stands in."""
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{cut(path.stem)}-{digest}{path.suffix}"


def cut(name: str) -> str:
    """A name that is no longer than file systems take, with whole letters."""
    content = os.fsencode(name)
    # One that is short enough may hold bytes that are no UTF-8, and keeps them.
    return name if len(content) <= LONGEST_NAME else content[:LONGEST_NAME].decode(errors="ignore")


def refuse_foreign(folder: Path) -> None:
    """Make sure that a folder of links holds nothing of anybody else.

    Hidden files, which file managers leave wherever they look, are passed over. Raises ValueError.
    """
    for path in _foreign(folder):
        raise ValueError(
            f"{path} is no link that the tagger made, and nothing else may stand in {folder};"
            " move it elsewhere or give another out"
        )


def remove_links(folder: Path) -> None:
    """Remove the links that were made in a folder, and its subfolders that are then empty.

    Raises ValueError, with nothing removed, when something of anybody else stands there.
    """
    refuse_foreign(folder)
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if _is_ours(path):
                path.unlink()
        if Path(parent) != folder:
            # One that holds a hidden file stays.
            with contextlib.suppress(OSError):
                Path(parent).rmdir()


def _foreign(folder: Path) -> Iterator[Path]:
    if folder.exists() and not folder.is_dir():
        yield folder
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_the_system(name)]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        paths = [Path(parent, name) for name in (*links, *files) if not is_of_the_system(name)]
        yield from (path for path in paths if not _is_ours(path))


def _is_ours(path: Path) -> bool:
    named = path.suffix.lower() in PHOTO_SUFFIXES and _MADE_HERE.fullmatch(path.stem)
    return bool(named) and path.is_symlink()
