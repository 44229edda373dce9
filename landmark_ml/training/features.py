"""Features of a frozen backbone, computed once per photo, view, preprocessing and weights."""

from __future__ import annotations

import contextlib
import io
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import PIL
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from landmark_ml.files import write_whole
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.onnx_trace import FEATURES, backbone_digest, trace_backbone
from landmark_ml.training.pixels import PIXELS_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landmark_ml.data import Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.devices import Compute

logger = logging.getLogger(__name__)

_SMALLEST_CROP = 0.5
# Calls handed out before the first is waited for: as much is finished after Ctrl-C.
_AHEAD = 64
_DAMAGES = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Extractor:
    """run: from uint8 [N, H, W, 3] to features, best in batches of `batch` on `workers` threads."""

    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    batch: int
    workers: int


@dataclass(frozen=True)
class FeatureCache:
    """Features on disk, one file for each view of one backbone; written whole or not at all."""

    folder: Path

    def load(self, key: str) -> dict[str, NDArray[np.float32]]:
        """Features by content hash; empty when nothing, or nothing sound, is stored."""
        path = self._path(key)
        try:
            return _read(path)
        except _DAMAGES as error:
            logger.warning(
                "feature cache %s is damaged (%s); its features are recomputed", path, error
            )
            return {}

    def add(self, key: str, features: dict[str, NDArray[np.float32]]) -> None:
        """Write features beside what others wrote meanwhile; whoever dies leaves the old file."""
        path, content = self._path(key), io.BytesIO()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            stored = {}
            # A damaged file was told when it was loaded, and is replaced here.
            with contextlib.suppress(*_DAMAGES):
                stored = _read(path)
            rows = stored | features
            np.savez(content, sha256=np.array(list(rows)), features=np.stack([*rows.values()]))
            write_whole(path, content.getvalue())

    def _path(self, key: str) -> Path:
        return self.folder / "features" / f"{key}.npz"


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return dict(zip(stored["sha256"].tolist(), stored["features"], strict=True))


def compute_features(
    model: LandmarkNetwork,
    photos: Sequence[Photo],
    views: int,
    compute: Compute,
    cache: FeatureCache,
) -> NDArray[np.float32]:
    """Features of each view of each photo: float32 [views, N, num_features].

    View 0 is the photo as it is served, view 1 its mirror image, later ones are random crops that
    depend on the photo's content alone.
    """
    if not photos:
        raise ValueError("features of 0 photos are undefined; give a split that has some")
    backbone = backbone_digest(model)
    extract: Extractor | None = None
    rows = []
    for view in range(views):
        key = f"{backbone}-{compute.device.type}-{PIXELS_VERSION}-pillow{PIL.__version__}-{view}"
        known = cache.load(key)
        missing = list({p.sha256: p for p in photos if p.sha256 not in known}.values())
        if missing:
            extract = extract or create_extractor(model, compute, cache.folder)
            try:
                # Once around all threads: what it sets is the whole process's.
                with compute.exact.autocast():
                    _extract(extract, missing, model.preprocessing, view, known)
            finally:
                # Also what an interrupted pass has found, if it found something.
                if known:
                    cache.add(key, known)
        rows.append(np.stack([known[photo.sha256] for photo in photos]))
    return np.stack(rows)


def create_extractor(model: LandmarkNetwork, compute: Compute, cache: Path) -> Extractor:
    """Function from pixels to features: the served graph on a CPU, else torch."""
    if compute.device.type == "cpu":
        # One core a call and a call a core: measured 1.4 times the speed of all cores on one call.
        # Two photos a call: larger batches leave the cache and took 1.2 times as long a photo.
        cores = torch.get_num_threads()
        traced = trace_backbone(model, cache).SerializeToString()
        graph = Runtime.load(traced, threads=cores, streams=cores)
        return Extractor(lambda pixels: graph.run(pixels)[FEATURES], batch=2, workers=cores)
    compute.place(model).eval()

    @torch.no_grad()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # In full precision: the classifier that learns on them is served in it.
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
    extract: Extractor,
    photos: Sequence[Photo],
    preprocessing: Preprocessing,
    view: int,
    found: dict[str, NDArray[np.float32]],
) -> None:
    """Add the features of photos to those found, by content."""

    def read(photo: Photo) -> NDArray[np.uint8]:
        return view_pixels(preprocessing.decode(photo.path), preprocessing, view, photo.sha256)

    def run(chunk: Sequence[Photo]) -> NDArray[np.float32]:
        return extract.run(np.stack([read(photo) for photo in chunk]))

    chunks = [photos[i : i + extract.batch] for i in range(0, len(photos), extract.batch)]
    progress = tqdm(total=len(photos), desc=f"features, view {view}", unit="photo", delay=1)
    with ThreadPoolExecutor(extract.workers) as pool, progress:
        for start in range(0, len(chunks), _AHEAD):
            some = chunks[start : start + _AHEAD]
            for chunk, rows in zip(some, pool.map(run, some), strict=True):
                found.update({photo.sha256: row for photo, row in zip(chunk, rows, strict=True)})
                progress.update(len(chunk))
