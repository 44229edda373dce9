"""The folder behind a dataset's name: drawn here, downloaded, or the user's own."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from landmark_ml.config import user_path
from landmark_ml.data import postcards
from landmark_ml.data.archives import unpack_zip
from landmark_ml.data.download import download

if TYPE_CHECKING:
    from landmark_ml.config import DataConfig

_UDACITY50_CLASSES = 50
_COMPLETE = ".complete"


def find_root(config: DataConfig) -> tuple[str, Path]:
    """Name and absolute folder of a dataset; drawn or downloaded into `cache_dir` when missing.

    Raises ValueError when data is neither a known name nor a folder, or the download fails.
    """
    data, cache_dir = config.data, user_path(config.cache_dir).resolve()
    if data == "postcards":
        return data, _draw_postcards(cache_dir)
    if data == "udacity50":
        return data, _fetch_udacity50(cache_dir, config.udacity50_url)
    root = user_path(data).resolve()
    if data and root.is_dir():
        return root.name, root
    what = "is a file, not a folder" if root.is_file() else "does not exist"
    raise ValueError(
        f"data {data!r} is no known dataset and the folder {root} {what}; give 'postcards' (drawn"
        " here), 'udacity50' (downloaded) or a folder with train/<class>/… or <class>/…"
    )


def _draw_postcards(cache_dir: Path) -> Path:
    return postcards.write_postcards(cache_dir / f"postcards-{drawing_code_digest()}")


def drawing_code_digest() -> str:
    """Short hash over the code of `postcards`: changed code draws into a new folder."""
    code = sorted(Path(postcards.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:8]


def _fetch_udacity50(cache_dir: Path, url: str) -> Path:
    folder = cache_dir / f"udacity50-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    root = folder / "landmark_images"
    cache_dir.mkdir(parents=True, exist_ok=True)
    # One fetches for all: two would write into the same unfinished file.
    with FileLock(cache_dir / f"{folder.name}.lock"):
        if (folder / _COMPLETE).is_file():
            return root
        archive = download(url, cache_dir / f"{folder.name}.zip")
        shutil.rmtree(folder, ignore_errors=True)
        unpack_zip(archive, folder)
        _check_udacity50(root, url)
        (folder / _COMPLETE).touch()
        archive.unlink()
    return root


def _check_udacity50(root: Path, url: str) -> None:
    for side in ("train", "test"):
        folder = root / side
        count = sum(path.is_dir() for path in folder.iterdir()) if folder.is_dir() else 0
        if count != _UDACITY50_CLASSES:
            raise ValueError(
                f"the archive of {url} holds {count} classes in {root.name}/{side} and"
                f" {_UDACITY50_CLASSES} were expected; check udacity50_url"
            )
