"""Object stores, and the copies of their photos that a dataset is read from."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec
import pyarrow as pa
from pyarrow import fs

from landmark_ml.config import user_path
from landmark_ml.console import Bar
from landmark_ml.data.dataset import UnreadablePhoto
from landmark_ml.data.folders import ListedFile
from landmark_ml.files import whole_file
from landmark_ml.inference.photos import DEFAULT_LIMITS

STORES = "stores"
"""Folder of the cache that holds the copies, as `stores/s3/bucket/photos/1.jpg`."""
AT_ONCE, BATCH = 32, 256
"""Photos fetched at once, and from one progress of the bar to the next."""


def local_folder(place: str) -> Path | None:
    """The folder that a path or a `file://` address means; None for any other address."""
    if "://" not in place:
        return user_path(place).resolve()
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_folder(place: str, *, create: bool = False) -> fs.SubTreeFileSystem:
    """File system whose root is a folder or an address such as `s3://bucket/photos`.

    pyarrow's own file systems come first (s3, gs, abfs), then fsspec's. create: make the folder.
    Raises ValueError for an address that neither knows or can reach.
    """
    folder = local_folder(place)
    try:
        if folder is not None:
            system, root = fs.LocalFileSystem(), str(folder)
        else:
            try:
                system, root = fs.FileSystem.from_uri(place)
            except pa.ArrowInvalid:
                found, root = fsspec.core.url_to_fs(place)
                system = fs.PyFileSystem(fs.FSSpecHandler(found))
    except (ValueError, ImportError, OSError) as error:
        reason = f"{place!r} cannot be opened ({error}); give s3://…, gs://… and check credentials"
        raise ValueError(f"{reason} and network") from None
    if create:
        system.create_dir(root, recursive=True)
    return fs.SubTreeFileSystem(root, system)


def copy_of(address: str, cache: Path) -> Path:
    """Where the copy of a photo lies: a path with the parts of its address."""
    return cache.resolve() / STORES / address.replace("://", "/", 1)


def fetch_photos(files: Sequence[ListedFile]) -> dict[Path, UnreadablePhoto]:
    """Copy the photos that have an address to their paths; gives those that could not be copied.

    A copy takes the time of change that the store tells. A photo is fetched again when that or its
    size differs. A killed process loses the photos that it was fetching. Raises ValueError when a
    store cannot be opened, the first `BATCH` photos all fail, or the disk refuses a copy.
    """
    addresses = {file.path: file.address for file in files if file.address}
    paths, store_of = list(addresses), functools.cache(open_folder)

    def fetch(path: Path) -> str:
        """Make one copy, where it is missing or old; returns why that failed, empty if not."""
        *root, name = addresses[path].split("/", 3)
        store = store_of("/".join(root))
        try:
            info = store.get_file_info(name)
            if info.type != fs.FileType.File:
                return "it is not there, or these credentials may not read it"
            most = DEFAULT_LIMITS.max_bytes + 1
            size = most if info.size is None else min(info.size, most)
            changed = info.mtime and int(info.mtime.timestamp())
            with contextlib.suppress(OSError):
                copy = path.stat()
                same_size = info.size is None or copy.st_size == size
                if same_size and changed in (None, int(copy.st_mtime)):
                    return ""
            with store.open_input_stream(name) as stream:
                content = stream.read(size)
        except Exception as error:  # stores of fsspec raise errors of their own
            return str(error)
        if info.size is not None and len(content) < size:
            return f"{len(content):,} of its {info.size:,} bytes came"
        try:
            with whole_file(path, flush=False) as scratch:
                scratch.write_bytes(content)
                if changed is not None:
                    os.utime(scratch, (changed, changed))
        except OSError as error:
            reason = f"{addresses[path]} cannot be copied ({error}); free some disk space, give"
            raise ValueError(f"{reason} another cache_dir or leave this photo out") from error
        return ""

    failed: dict[Path, UnreadablePhoto] = {}
    bar = Bar(total=len(paths), desc="fetching photos", unit=" photos")
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            for path, why in zip(batch, pool.map(fetch, batch), strict=True):
                if why:
                    reason = f"{addresses[path]} was not fetched: {why}; check address, credentials"
                    failed[path] = UnreadablePhoto(path, "unreadable", f"{reason} and network")
            bar.update(len(batch))
            if len(failed) == start + BATCH:
                raise ValueError(f"the first {BATCH} photos all failed; {failed[path].reason}")
    return failed
