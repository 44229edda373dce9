"""The traced backbone: one ONNX graph from pixels to features, for training and for serving."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import nn

from landmark_ml.files import write_whole
from landmark_ml.networks.weights import state_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from landmark_ml.networks.create import LandmarkNetwork

logger = logging.getLogger(__name__)

IMAGES, FEATURES = "images", "features"
FEATURE_MAPS = "feature_maps"
"""Tensor inside the graph, float32 [N, F, h, w], where the features are its plain average."""

# Raise it when the graph of the same weights changes, so that stored ones are traced again.
_TRACING = 2
# Tracing specialises sizes 0 and 1, so the example batch holds 2 photos.
_EXAMPLE_PHOTOS = 2


class _Backbone(nn.Module):
    def __init__(self, model: LandmarkNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.model.feature_maps(images.permute(0, 3, 1, 2))
        return self.model.pool(maps), maps


def backbone_digest(model: LandmarkNetwork) -> str:
    """Identity of what turns pixels into features: weights below the classifier, normalisation."""
    weights = state_digest(model.network, skip=model.classifier)
    # Two architectures may share their weights and differ in padding or activation.
    versions = [version(name) for name in ("torch", "timm", "openvino")]
    layers = [repr(layer) for layer in model.network.children() if layer is not model.classifier]
    # Nor do weights tell which stages are stacked; how many features come of it does.
    seen = [model.classifier.in_features, model.mirror, model.preprocessing.to_dict()]
    identity = json.dumps([weights, layers, seen, versions])
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def trace_backbone(model: LandmarkNetwork, cache: Path | None) -> onnx.ModelProto:
    """Graph from `images` uint8 [N, H, W, 3] to `features` float32 [N, F].

    Inside it, `has_feature_maps` tells, stands what the features are the average of. Tracing takes
    seconds, so the graph of the same weights is kept in the folder `cache`; None keeps nothing, for
    weights that no other run will have.
    """
    if cache is None:
        return _trace(model)
    path = cache / "graphs" / f"{backbone_digest(model)}-{_TRACING}.onnx"
    try:
        cached = onnx.load(path)
        # An empty file parses as a graph of nothing.
        onnx.checker.check_model(cached)
        return cached
    except FileNotFoundError:
        pass
    except (DecodeError, onnx.checker.ValidationError) as error:
        logger.warning("cached graph %s is damaged (%s); tracing again", path, error)
    graph = _trace(model)
    write_whole(path, graph.SerializeToString())
    return graph


def has_feature_maps(graph: onnx.ModelProto) -> bool:
    """Whether the features are the plain average over the places of a map in the graph.

    Not so where a network pools by a token or puts layers between pooling and classifier.
    """
    return any(FEATURE_MAPS in node.output for node in graph.graph.node)


def _trace(model: LandmarkNetwork) -> onnx.ModelProto:
    side = model.preprocessing.resolution
    # A generator of its own: whether a graph was cached must not change what is trained.
    rng = torch.Generator().manual_seed(0)
    shape = (_EXAMPLE_PHOTOS, side, side, 3)
    images = torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)
    device = model.mean.device
    batch = torch.export.Dim("batch", min=1, max=4096)
    backbone = _Backbone(model).cpu().eval()
    maps_name = FEATURE_MAPS if _averages(backbone, images) else "unpooled"
    with _quiet():
        program = torch.onnx.export(
            backbone,
            (images,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=[IMAGES],
            output_names=[FEATURES, maps_name],
            verbose=False,
        )
    model.to(device)
    if program is None:
        raise ValueError("the exporter returned no graph; update torch and onnxscript")
    graph = program.model_proto
    # The maps stay inside: given out, they would be copied for every photo whose features we want.
    del graph.graph.output[1:]
    return graph


@torch.no_grad()
def _averages(backbone: _Backbone, images: Tensor) -> bool:
    features, maps = backbone(images)
    if maps.dim() != 4 or maps.shape[1] != features.shape[1]:
        return False
    return torch.allclose(maps.mean(dim=(2, 3)), features, rtol=1e-3, atol=1e-4)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The exporter prints progress and internal deprecations that a user can do nothing about.
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
