"""What is computed from photos once and kept on disk: features of a backbone, decoded pixels.

Rows are found by the content hash of their photo and checked by their own. Everything here can be
computed again, so a file may be deleted at any time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import PIL
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from landmark_ml.config import TrainConfig, user_path
from landmark_ml.console import Bar, counted
from landmark_ml.data import Photo
from landmark_ml.files import make_cache
from landmark_ml.inference.photos import decode_photo
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import FEATURES, Runtime
from landmark_ml.networks.create import LandmarkNetwork
from landmark_ml.networks.export import backbone_digest, trace_backbone
from landmark_ml.networks.rejection import Rows
from landmark_ml.training.devices import Compute

PixelsToFeatures = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

PIXELS_VERSION = 3
"""Raise it when the way from photo bytes to pixels changes, so that nothing older is used."""
IN_MEMORY = 10**9
"""Bytes up to which features are read into memory once."""
# Calls for each thread before the first is waited for: bounds the memory that a slow disk can fill,
# and what is still finished after Ctrl-C.
_AHEAD = 16
_DIGEST = 32
_STRUCK = 64 * "-"
_LINE = 64 + 1 + _DIGEST + 1


class CacheError(ValueError):
    """Rows that cannot be written; the message says where and what to do."""


def compute_features(
    model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, compute: Compute
) -> StoredRows:
    """Features of photos, float32 [N, num_features]; config.cache_dir keeps them."""
    cache, shape = user_path(config.cache_dir), (model.classifier.in_features,)

    def extract(missing: Sequence[Photo]) -> Iterator[NDArray[np.float32]]:
        # Built only for photos that are not cached: tracing takes seconds.
        run, size, workers = create_extractor(model, compute, cache)

        def features(chunk: Sequence[Photo]) -> NDArray[np.float32]:
            return run(np.stack([model.preprocessing.read(photo.path) for photo in chunk]))

        chunks = [missing[i : i + size] for i in range(0, len(missing), size)]
        # Around all threads, because TF32 is switched off for the whole process.
        with compute.autocast():
            for each in _in_threads(features, chunks, workers, "features", size):
                yield from each

    computed = f"{compute.device.type}-{compute.precision}-{PIXELS_VERSION}"
    key = f"{backbone_digest(model)}-{computed}-pillow{PIL.__version__}"
    rows = RowCache(cache / "features", ".f32").load(photos, key, shape, np.float32, extract)
    if 4 * shape[0] * len(photos) > IN_MEMORY:
        return rows
    every = torch.arange(len(photos))
    return StoredRows(rows[every], every)


def create_extractor(
    model: LandmarkNetwork, compute: Compute, cache: Path
) -> tuple[PixelsToFeatures, int, int]:
    """From uint8 [N, H, W, 3] to features, the best N, and how many threads to call it on."""
    if compute.device.type == "cpu":
        # One core a call and a call a core: measured 1.4 times the speed of all cores on one call.
        # Units for bf16 want pairs: with AMX 2.1 times the speed of f32, one by one 1.5 times.
        cores, batch = torch.get_num_threads(), 2 if compute.bf16 else 1
        traced = trace_backbone(model, cache).SerializeToString()
        runtime = Runtime(
            traced, precision=compute.precision, threads=cores, streams=cores, batch=batch
        )
        return lambda pixels: runtime.run(pixels)[FEATURES], batch, cores
    compute.place(model).eval()

    @torch.no_grad()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Here again: each thread has its own autocast.
        with compute.autocast():
            features = model.features(compute.send(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        found: NDArray[np.float32] = features.float().cpu().numpy()
        return found

    return run, 64, torch.get_num_threads()


def load_squashed(photos: Sequence[Photo], side: int, cache: Path) -> tuple[StoredRows, Tensor]:
    """Whole photos squashed to squares, uint8 [N, 3, side, side], and their aspect ratios [N]."""

    def read(photo: Photo) -> NDArray[np.uint8]:
        picture = decode_photo(photo.path, min_side=side)
        squashed = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(squashed, dtype=np.uint8)

    aspects = torch.tensor([photo.width / photo.height for photo in photos])
    return _load_pixels(photos, side, read, f"squashed-{side}", cache), aspects


def load_served(photos: Sequence[Photo], preprocessing: Preprocessing, cache: Path) -> StoredRows:
    """Photos as the served model sees them: uint8 [N, 3, resolution, resolution]."""
    side = preprocessing.resolution
    constants = json.dumps(asdict(preprocessing), sort_keys=True)
    name = f"served-{side}-{hashlib.sha256(constants.encode()).hexdigest()[:8]}"
    return _load_pixels(photos, side, lambda photo: preprocessing.read(photo.path), name, cache)


def _load_pixels(
    photos: Sequence[Photo],
    side: int,
    read: Callable[[Photo], NDArray[np.uint8]],
    name: str,
    cache: Path,
) -> StoredRows:
    def decode(photos: Sequence[Photo]) -> Iterator[NDArray[np.uint8]]:
        for picture in _in_threads(read, photos, torch.get_num_threads(), "decode"):
            yield picture.transpose(2, 0, 1)

    key = f"{name}-v{PIXELS_VERSION}-pillow{PIL.__version__}"
    return RowCache(cache / "pixels", ".rgb").load(photos, key, (3, side, side), np.uint8, decode)


def _in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    title: str,
    photos_each: int = 1,
) -> Iterator[Result]:
    """Results in order, with a bar that counts photos."""
    scale = photos_each if photos_each > 1 else False
    bar = Bar(total=len(items), desc=title, unit=" photos", unit_scale=scale)
    with ThreadPoolExecutor(workers) as pool, bar:
        for start in range(0, len(items), _AHEAD * workers):
            for result in pool.map(function, items[start : start + _AHEAD * workers]):
                yield result
                bar.update()


@dataclass(frozen=True)
class StoredRows:
    """Rows [N, …] of photos, in memory or in a file; `rows[chosen]` copies some of them [B, …].

    places: int64 [N], where each row stands in the source.
    """

    source: Rows
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        return self.source[self.places[chosen]]

    def subset(self, chosen: Tensor) -> StoredRows:
        """Some of the rows, int64 [B], which stay where they are."""
        return replace(self, places=self.places[chosen])


@dataclass(frozen=True)
class FileRows:
    """Rows of one shape in a file that is only appended to.

    Each is read, not mapped: with a mapped row comes what lies around it, up to 2 MB.
    """

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: type[np.generic]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: Tensor) -> Tensor:
        rows = np.empty((len(places), *self.shape), self.dtype)
        for row, place in zip(rows, places.tolist(), strict=True):
            if os.preadv(self.file.fileno(), [row], place * row.nbytes) != row.nbytes:
                raise CacheError(f"{self.file.name} was cut short while it was read; start again")
        return torch.from_numpy(rows)


@dataclass(frozen=True)
class RowCache:
    """A folder with two files for each key: rows, and a line of hashes for each row.

    The hashes are that of the photo and one of photo and row together. A row that is not what its
    line says (half written, damaged, of another photo) is computed again. Rows are only appended,
    so what another process reads never changes. Two sound files get one time; rows are read and
    checked again when the times or sizes do not agree, as after a kill or a change by others.
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
        make_cache(self.folder)
        path, index = self.folder / f"{key}{self.suffix}", self.folder / f"{key}.index"
        size = np.dtype(dtype).itemsize * math.prod(shape)
        wanted = {photo.sha256: photo for photo in photos}
        with FileLock(self.folder / f"{key}.lock"):
            for file in (path, index):
                # Made where it is not there; touched, it would get another time.
                file.open("ab").close()
            places, damaged = _sound_rows(path, index, size)
            missing = [photo for sha256, photo in wanted.items() if sha256 not in places]
            end = min(path.stat().st_size // size, index.stat().st_size // _LINE)
            # What a killed process left half written.
            os.truncate(path, end * size)
            os.truncate(index, end * _LINE)
            # Not asked for nothing: it would still trace and compile the network.
            new = compute(missing) if missing else ()
            # Unbuffered, so that a row is in the file before the next is computed.
            with path.open("r+b", 0) as stored, index.open("r+b", 0) as listed:
                for place in (each for each in damaged if each < end):
                    listed.seek(place * _LINE)
                    listed.write(_STRUCK.encode())
                for place, (photo, row) in enumerate(zip(missing, new, strict=True), end):
                    content = row.tobytes()
                    line = f"{photo.sha256} {_digest(photo.sha256, content)}\n".encode()
                    try:
                        for stream, part in ((stored, content), (listed, line)):
                            stream.seek(place * len(part))
                            # A nearly full disk takes a part and raises nothing.
                            if stream.write(part) != len(part):
                                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    except OSError as error:
                        megabytes = len(missing) * size / 1e6
                        raise CacheError(
                            f"what is computed from {len(missing)} photos cannot be kept in {path}:"
                            f" {error.strerror or error}; free {megabytes:.0f} MB there or give"
                            " another cache_dir"
                        ) from error
                    places[photo.sha256] = place
            now = time.time_ns()
            os.utime(path, ns=(now, now))
            os.utime(index, ns=(now, now))
            # Stays open, so that the rows can be read even if the file is removed.
            source = FileRows(path.open("rb", 0), shape, dtype, end + len(missing))
        logger.info(
            "%s of %s computed and kept in %s (%.0f MB)",
            f"{len(missing):,}",
            counted(len(photos), "photo"),
            self.folder,
            path.stat().st_size / 1e6,
        )
        return StoredRows(source, torch.tensor([places[photo.sha256] for photo in photos]))


def _sound_rows(path: Path, index: Path, size: int) -> tuple[dict[str, int], list[int]]:
    """Places of the rows that are what their lines say, by photo, and those of the others."""
    lines = index.read_bytes()
    # Of two lines for a photo the later one counts.
    places = {
        lines[start : start + 64].decode("ascii", "replace"): start // _LINE
        for start in range(0, len(lines), _LINE)
    }
    places.pop(_STRUCK, None)
    count, half = divmod(len(lines), _LINE)
    state, damaged = path.stat(), list[int]()
    whole = not half and state.st_size == count * size
    if whole and state.st_mtime_ns == index.stat().st_mtime_ns:
        return places, damaged
    with path.open("rb") as rows:
        for sha256, place in Bar(list(places.items()), "checking rows", unit=" rows"):
            rows.seek(place * size)
            digest = _digest(sha256, rows.read(size)).encode()
            if lines[place * _LINE + 65 : (place + 1) * _LINE] != digest + b"\n":
                damaged.append(places.pop(sha256))
    if damaged:
        logger.warning("%s is damaged: %d rows of it are computed again", path, len(damaged))
    return places, damaged


def _digest(sha256: str, row: bytes) -> str:
    return hashlib.sha256(sha256.encode() + row).hexdigest()[:_DIGEST]
