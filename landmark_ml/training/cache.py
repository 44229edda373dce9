"""What is computed from photos once and kept on disk: features of a backbone, decoded pixels.

Rows are found by the content hash of their photo. Everything here can be computed again, so a file
may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.inference.photos import decode_photo
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.export import FEATURES, backbone_digest, trace_backbone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.devices import Compute

logger = logging.getLogger(__name__)

_SMALLEST_CROP = 0.5
# Calls submitted before the first is waited for; after Ctrl-C these are finished.
_BATCHES_AHEAD = 64


@dataclass(frozen=True)
class Extractor:
    """run: from uint8 [N, H, W, 3] to features, best in batches of `batch` on `workers` threads."""

    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    batch: int
    workers: int


def compute_features(
    model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, compute: Compute
) -> Tensor:
    """Features of config.views views of each photo: float32 [views, N, num_features].

    View 0 is the photo as it is served, view 1 its mirror image, later ones are random crops that
    depend on the photo's content alone. config.cache_dir keeps them.
    """
    if not photos:
        raise ValueError("features of 0 photos are undefined; give a split that has some")
    cache, backbone = user_path(config.cache_dir), backbone_digest(model)
    rows = RowCache(cache / "features", ".f32")
    # Built only for photos that are not cached: tracing takes seconds.
    extractor = functools.cache(lambda: create_extractor(model, compute, cache))
    found = torch.empty(config.views, len(photos), model.classifier.in_features)
    for view in range(config.views):

        def extract(missing: Sequence[Photo], view: int = view) -> Iterator[NDArray[np.float32]]:
            # Around all threads, because precision is set for the whole process.
            with compute.exact.autocast():
                yield from _extract(extractor(), missing, model.preprocessing, view)

        key = f"{backbone}-{compute.device.type}-{PIXELS_VERSION}-pillow{PIL.__version__}-{view}"
        stored = rows.load(photos, key, tuple(found.shape[2:]), np.float32, extract)
        found[view] = stored[torch.arange(len(photos))]
    return found


def create_extractor(model: LandmarkNetwork, compute: Compute, cache: Path) -> Extractor:
    """Function from pixels to features: the served runtime on a CPU, else torch."""
    if compute.device.type == "cpu":
        # One core a call and a call a core: measured 1.4 times the speed of all cores on one call.
        # Two photos a call: larger batches leave the cache and took 1.2 times as long a photo.
        cores = torch.get_num_threads()
        traced = trace_backbone(model, cache).SerializeToString()
        runtime = Runtime.load(traced, threads=cores, streams=cores)
        return Extractor(lambda pixels: runtime.run(pixels)[FEATURES], batch=2, workers=cores)
    compute.place(model).eval()

    @torch.no_grad()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = model.features(compute.send(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        found: NDArray[np.float32] = features.float().cpu().numpy()
        return found

    return Extractor(run, batch=64, workers=4)


def view_pixels(
    photo: Image.Image, preprocessing: Preprocessing, view: int, sha256: str
) -> NDArray[np.uint8]:
    """Pixels of one view of a decoded photo: uint8 [resolution, resolution, 3]."""
    if view == 0:
        return preprocessing.pixels(photo)
    if view == 1:
        return preprocessing.pixels(ImageOps.mirror(photo))
    rng = np.random.default_rng([view, int(sha256[:15], 16)])
    share = np.sqrt(rng.uniform(_SMALLEST_CROP, 1.0))
    width, height = round(photo.width * share), round(photo.height * share)
    left = int(rng.integers(0, photo.width - width + 1))
    top = int(rng.integers(0, photo.height - height + 1))
    crop = photo.crop((left, top, left + width, top + height))
    return preprocessing.pixels(ImageOps.mirror(crop) if rng.random() < 0.5 else crop)


def _extract(
    extractor: Extractor, photos: Sequence[Photo], preprocessing: Preprocessing, view: int
) -> Iterator[NDArray[np.float32]]:
    """Features of one view of each photo, in order."""

    def run(chunk: Sequence[Photo]) -> NDArray[np.float32]:
        decoded = [(preprocessing.decode(photo.path), photo.sha256) for photo in chunk]
        return extractor.run(
            np.stack([view_pixels(photo, preprocessing, view, sha) for photo, sha in decoded])
        )

    size = extractor.batch
    chunks = [photos[i : i + size] for i in range(0, len(photos), size)]
    progress = tqdm(total=len(photos), desc=f"features, view {view}", unit="photo", delay=1)
    with ThreadPoolExecutor(extractor.workers) as pool, progress:
        for start in range(0, len(chunks), _BATCHES_AHEAD):
            for rows in pool.map(run, chunks[start : start + _BATCHES_AHEAD]):
                yield from rows
                progress.update(len(rows))


PIXELS_VERSION = 3
"""Raise it when the way from photo bytes to pixels changes, so that nothing older is used."""
LARGEST_FOLDER = 100 * 10**9
"""Bytes of cached rows in one folder, above which the files not used for longest are removed."""
_HASH_LINE = 65
_ROWS_A_WRITE = 64
# Photos decoded ahead of what is written: bounds the memory that a slow disk can fill.
_PHOTOS_AHEAD = 256


class CacheError(ValueError):
    """Rows that cannot be written; the message says where and what to do."""


@dataclass(frozen=True)
class StoredRows:
    """Rows [N, …] of photos, read from the disk on demand."""

    mapped: NDArray[Any]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Some of the rows [B, …], as a copy in memory."""
        return torch.from_numpy(self.mapped[self.places[chosen.numpy()]])


@dataclass(frozen=True)
class RowCache:
    """A folder with two files for each key: rows, and the content hash of the photo of each row.

    Rows are only appended, so what another process has mapped never changes. A row counts once its
    hash is written, which happens after the row reached the disk.
    """

    folder: Path
    suffix: str

    def load(
        self,
        photos: Sequence[Photo],
        key: str,
        shape: tuple[int, ...],
        dtype: type[np.generic],
        compute: Callable[[Sequence[Photo]], Iterable[NDArray[Any]]],
    ) -> StoredRows:
        """Rows of photos; `compute` gives those that are missing, in order.

        key: names everything a row depends on besides the photo. Several processes may ask at once:
        one computes, the others wait. What was computed before an interruption is kept. Raises
        CacheError when the disk refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, index = self.folder / f"{key}{self.suffix}", self.folder / f"{key}.sha256"
        size = np.dtype(dtype).itemsize * math.prod(shape)
        with FileLock(self.folder / f"{key}.lock"):
            known = _read_index(path, index, size)
            places = {sha256: place for place, sha256 in enumerate(known)}
            missing = list({p.sha256: p for p in photos if p.sha256 not in places}.values())
            if missing:
                _append(path, index, len(known), missing, compute(missing))
                places |= {p.sha256: len(known) + i for i, p in enumerate(missing)}
            total = len(known) + len(missing)
            # Copy on write: batches may be changed, the file may not.
            mapped = np.memmap(path, dtype, "c", shape=(total, *shape)).view(np.ndarray)
            os.utime(path)
        logger.info(
            "%d of %d photos were new to %s, which holds %.0f MB",
            len(missing),
            len(photos),
            path,
            total * size / 1e6,
        )
        self._remove_unused(path)
        return StoredRows(mapped, np.array([places[photo.sha256] for photo in photos]))

    def _remove_unused(self, used: Path) -> None:
        """Remove the files not used for longest until the folder is small enough."""
        paths = [path for path in self.folder.iterdir() if path.suffix != ".lock" and path != used]
        states = {path: path.stat() for path in paths if path.is_file()}
        total = used.stat().st_size + sum(state.st_size for state in states.values())
        for path in sorted(states, key=lambda path: states[path].st_mtime):
            if total <= LARGEST_FOLDER:
                return
            # An index without its rows counts for nothing; a process that mapped rows keeps them.
            with contextlib.suppress(Timeout, OSError):
                with FileLock(path.with_name(f"{path.stem}.lock"), timeout=0):
                    path.unlink()
                total -= states[path].st_size
                logger.info("removed %s to keep %s small", path.name, self.folder)


def load_squashed(
    photos: Sequence[Photo], side: int, cache: Path | None = None
) -> tuple[Tensor | StoredRows, Tensor]:
    """Whole photos squashed to squares, uint8 [N, 3, side, side], and their aspect ratios [N].

    cache: folder that keeps them; None holds them in memory.
    """

    def read(photo: Photo) -> NDArray[np.uint8]:
        picture = decode_photo(photo.path, min_side=side)
        squashed = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(squashed, dtype=np.uint8)

    aspects = torch.tensor([photo.width / photo.height for photo in photos])
    return _load_pixels(photos, side, read, f"squashed-{side}", cache), aspects


def load_served(
    photos: Sequence[Photo], preprocessing: Preprocessing, cache: Path | None = None
) -> Tensor | StoredRows:
    """Photos as the served model sees them: uint8 [N, 3, resolution, resolution]."""
    side = preprocessing.resolution
    constants = json.dumps(preprocessing.to_dict(), sort_keys=True)
    name = f"served-{side}-{hashlib.sha256(constants.encode()).hexdigest()[:8]}"
    return _load_pixels(photos, side, lambda photo: preprocessing.read(photo.path), name, cache)


def _load_pixels(
    photos: Sequence[Photo],
    side: int,
    read: Callable[[Photo], NDArray[np.uint8]],
    name: str,
    cache: Path | None,
) -> Tensor | StoredRows:
    def decode(photos: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
        progress = tqdm(total=len(photos), desc="decode", unit="photo", delay=1)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool, progress:
            for start in range(0, len(photos), _PHOTOS_AHEAD):
                for picture in pool.map(read, photos[start : start + _PHOTOS_AHEAD]):
                    yield picture.transpose(2, 0, 1)
                    progress.update()

    if cache is not None:
        key = f"{name}-v{PIXELS_VERSION}-pillow{PIL.__version__}"
        rows = RowCache(cache / "pixels", ".rgb")
        return rows.load(photos, key, (3, side, side), np.uint8, decode)
    pixels = np.empty((len(photos), 3, side, side), dtype=np.uint8)
    for row, picture in zip(pixels, decode(photos), strict=True):
        row[:] = picture
    return torch.from_numpy(pixels)


def _read_index(path: Path, index: Path, size: int) -> list[str]:
    """Hash of the photo of each whole row; warns when rows are gone that were there."""
    if not index.is_file():
        return []
    lines = index.read_bytes()
    recorded = len(lines) // _HASH_LINE
    rows = path.stat().st_size // size if path.is_file() else 0
    if rows < recorded:
        message = "%s is damaged: it holds %d of %d rows; the others are computed again"
        logger.warning(message, path, rows, recorded)
    starts = range(0, min(rows, recorded) * _HASH_LINE, _HASH_LINE)
    return [lines[start : start + _HASH_LINE - 1].decode("ascii", "replace") for start in starts]


def _append(
    path: Path, index: Path, known: int, photos: Sequence[Photo], rows: Iterable[NDArray[Any]]
) -> None:
    """Write rows behind those known, a few at a time, and after each few their hashes."""
    hashes: list[str] = []
    contents: list[bytes] = []

    def write() -> None:
        nonlocal known
        size = len(contents[0])
        parts = (
            (path, known * size, b"".join(contents)),
            (index, known * _HASH_LINE, "".join(hashes).encode()),
        )
        known += len(contents)
        hashes.clear()
        contents.clear()
        try:
            for file, start, part in parts:
                with file.open("r+b") as stream:
                    stream.seek(start)
                    stream.write(part)
                    stream.flush()
                    os.fsync(stream.fileno())
        except OSError as error:
            raise CacheError(
                f"what was computed from {len(photos)} photos was not kept in {path}:"
                f" {error.strerror or error}; free {len(photos) * size / 1e6:.0f} MB there or give"
                " another cache_dir"
            ) from error

    path.touch()
    index.touch()
    # Lines of rows that are gone must not name the rows that take their place.
    os.truncate(index, known * _HASH_LINE)
    try:
        for photo, row in zip(photos, rows, strict=True):
            hashes.append(f"{photo.sha256}\n")
            contents.append(row.tobytes())
            if len(contents) == _ROWS_A_WRITE:
                write()
    finally:
        # Also what an interrupted computation has finished.
        if contents:
            write()
