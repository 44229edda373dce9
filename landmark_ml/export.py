"""From a trained network to the served artifact: one portable graph and its metadata."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import openvino as ov
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from landmark_ml.calibration import Calibration
    from landmark_ml.models import LandmarkNetwork
    from landmark_ml.places import Gazetteer

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
GRAPH_FILE = "model.onnx"
METADATA_FILE = "metadata.json"


@dataclass(frozen=True)
class ArtifactInfo:
    """What the metadata says about the network beside its preprocessing and calibration."""

    classes: tuple[str, ...]
    run_id: str
    precision: str = "f32"


class ServedNetwork(nn.Module):
    """uint8 [N, H, W, 3] to calibrated probabilities [N, classes] and landmark score [N].

    A network trained with photos of no landmark has one output more: its probability is what the
    probabilities of the landmarks lack to 1.
    """

    def __init__(self, model: LandmarkNetwork, num_classes: int, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(images.permute(0, 3, 1, 2))
        probabilities = torch.softmax(logits / self.temperature, dim=1)[:, : self.num_classes]
        return probabilities, landmark_score(probabilities, logits.shape[1])


class _FeatureNetwork(nn.Module):
    def __init__(self, model: LandmarkNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.features(images.permute(0, 3, 1, 2))


def landmark_score(probabilities: Tensor, num_outputs: int) -> Tensor:
    """How surely a photo shows a known landmark: [N] from probabilities [N, classes].

    With a background output it is the mass on all landmarks, without it the largest probability.
    """
    if num_outputs > probabilities.shape[1]:
        return probabilities.sum(dim=1)
    return probabilities.amax(dim=1)


def trace_features(model: LandmarkNetwork) -> ov.Model:
    """Graph from uint8 [N, H, W, 3] to `features`, for the runtime that also serves."""
    network = _FeatureNetwork(model).cpu().eval()
    images = _example(model)
    with _quiet():
        program = torch.export.export(network, (images,), dynamic_shapes=(_BATCH_SHAPE,))
        graph = ov.convert_model(program)
    graph.outputs[0].get_tensor().set_names({"features"})
    return graph


def export_network(
    model: LandmarkNetwork,
    calibration: Calibration,
    info: ArtifactInfo,
    gazetteer: Gazetteer,
    folder: Path,
) -> Path:
    """Write `model.onnx` and `metadata.json` into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    network = ServedNetwork(model, len(info.classes), calibration.temperature).cpu().eval()
    with _quiet():
        program = torch.onnx.export(
            network,
            (_example(model),),
            dynamo=True,
            dynamic_shapes=(_BATCH_SHAPE,),
            input_names=["images"],
            output_names=["probabilities", "landmark_score"],
            verbose=False,
        )
        if program is None:
            raise ValueError("the exporter returned no graph; update torch and onnxscript")
        program.save(folder / GRAPH_FILE)
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "run_id": info.run_id,
        "precision": info.precision,
        "preprocessing": model.preprocessing.to_dict(),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "classes": _described(info.classes, gazetteer),
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")
    return folder


def shown_names(classes: Sequence[str], gazetteer: Gazetteer) -> list[str]:
    """Name of each class as predictions show it: the place's, unless two classes share it."""
    places = [gazetteer.find(landmark) for landmark in classes]
    names = [place.name if place else label for place, label in zip(places, classes, strict=True)]
    return [
        label if names.count(name) > 1 else name for name, label in zip(names, classes, strict=True)
    ]


def _described(classes: Sequence[str], gazetteer: Gazetteer) -> list[dict[str, Any]]:
    rows = []
    for landmark, name in zip(classes, shown_names(classes, gazetteer), strict=True):
        place = gazetteer.find(landmark)
        rows.append(
            {"landmark": landmark, "name": name, "place": asdict(place) if place else None}
        )
    return rows


_BATCH_SHAPE = {0: torch.export.Dim("batch", min=1, max=4096)}


def _example(model: LandmarkNetwork) -> Tensor:
    side = model.preprocessing.resolution
    return torch.zeros(2, side, side, 3, dtype=torch.uint8)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The exporters print progress and internal deprecations that a user can do nothing about.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        exporter = logging.getLogger("torch.onnx")
        level = exporter.level
        exporter.setLevel(logging.ERROR)
        try:
            yield
        finally:
            exporter.setLevel(level)
