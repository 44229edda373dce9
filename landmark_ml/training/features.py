"""Features of a frozen backbone, computed once for each photo, view and set of weights."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from landmark_ml.config import user_path
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.export import FEATURES, backbone_digest, trace_backbone
from landmark_ml.training.cache import PIXELS_VERSION, RowCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.devices import Compute

_SMALLEST_CROP = 0.5
# Calls submitted before the first is waited for; after Ctrl-C these are finished.
_AHEAD = 64


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
        for start in range(0, len(chunks), _AHEAD):
            for rows in pool.map(run, chunks[start : start + _AHEAD]):
                yield from rows
                progress.update(len(rows))
