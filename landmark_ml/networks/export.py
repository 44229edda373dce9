"""From a trained network to the served artifact: one portable graph and its metadata.

The graph is the traced backbone with the classifier, the calibration and the softmax laid on top,
so the features that were trained on are the features that are served.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from landmark_ml.inference.artifact import (
    ATTENTION,
    GRAPH_FILE,
    LANDMARK_SCORE,
    METADATA_FILE,
    PROBABILITIES,
    SCHEMA_VERSION,
)
from landmark_ml.networks.onnx_trace import FEATURE_MAPS, FEATURES, has_feature_maps, trace_backbone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from landmark_ml.geo.gazetteer import Gazetteer
    from landmark_ml.networks.calibration import Calibration
    from landmark_ml.networks.create import LandmarkNetwork


@dataclass(frozen=True)
class ArtifactInfo:
    """What the metadata says beside preprocessing and calibration."""

    classes: tuple[str, ...]
    run_id: str
    precision: str = "f32"


def export_network(
    model: LandmarkNetwork,
    calibration: Calibration,
    info: ArtifactInfo,
    gazetteer: Gazetteer,
    *,
    folder: Path,
    cache: Path | None,
) -> Path:
    """Write `model.onnx` and `metadata.json` into a folder and return it.

    cache: where the traced backbone is kept, None for one that was fine-tuned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = lay_classifier(
        trace_backbone(model, cache), model.classifier, len(info.classes), calibration.temperature
    )
    onnx.checker.check_model(graph)
    onnx.save(graph, folder / GRAPH_FILE)
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "run_id": info.run_id,
        "precision": info.precision,
        "preprocessing": model.preprocessing.to_dict(),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "min_confidence": calibration.min_confidence,
        "classes": _described(info.classes, gazetteer),
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")
    return folder


def lay_classifier(
    backbone: onnx.ModelProto, classifier: nn.Linear, num_classes: int, temperature: float
) -> onnx.ModelProto:
    """Graph from pixels to `probabilities` [N, classes], `landmark_score` [N] and `attention`.

    A classifier with one output more than classes was trained with photos of no landmark: that
    output is what the probabilities lack to 1. The score is that of `calibration.landmark_scores`.
    """
    nodes = [
        helper.make_node("Gemm", [FEATURES, "weight", "bias"], ["logits"], transB=1),
        helper.make_node("Div", ["logits", "temperature"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["outputs"], axis=1),
        helper.make_node("Slice", ["outputs", "first", "last", "axis"], [PROBABILITIES]),
        helper.make_node("ReduceMax", [PROBABILITIES, "axis"], [LANDMARK_SCORE], keepdims=0),
    ]
    constants = {
        "weight": classifier.weight.detach().cpu().numpy(),
        "bias": classifier.bias.detach().cpu().numpy(),
        "temperature": np.array(temperature, dtype=np.float32),
        "first": np.array([0], dtype=np.int64),
        "last": np.array([num_classes], dtype=np.int64),
        "axis": np.array([1], dtype=np.int64),
    }
    graph = onnx.ModelProto()
    graph.CopyFrom(backbone)
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(_initializer(name, values) for name, values in constants.items())
    del graph.graph.output[:]
    graph.graph.output.extend(
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", num_classes]),
            helper.make_tensor_value_info(LANDMARK_SCORE, TensorProto.FLOAT, ["batch"]),
        ]
    )
    if has_feature_maps(backbone):
        _lay_attention(graph, classifier)
    return graph


def _lay_attention(graph: onnx.ModelProto, classifier: nn.Linear) -> None:
    """Add the output `attention` [N, h, w]: how much each place spoke for the best landmark.

    The class activation map of Zhou et al., Learning deep features for discriminative localization
    (CVPR 2016). What speaks for all classes alike is taken off, as the softmax does not see it.
    """
    weight = classifier.weight.detach().cpu().numpy()
    constants = {
        "weight_mean": weight.mean(axis=0, keepdims=True),
        "row_shape": np.array([0, 1, weight.shape[1]], dtype=np.int64),
        "places_shape": np.array([0, 0, -1], dtype=np.int64),
    }
    graph.graph.node.extend(
        [
            helper.make_node("ArgMax", [PROBABILITIES], ["best"], axis=1, keepdims=0),
            helper.make_node("Gather", ["weight", "best"], ["best_weight"], axis=0),
            helper.make_node("Sub", ["best_weight", "weight_mean"], ["evidence"]),
            helper.make_node("Reshape", ["evidence", "row_shape"], ["evidence_row"]),
            helper.make_node("Reshape", [FEATURE_MAPS, "places_shape"], ["places"]),
            helper.make_node("MatMul", ["evidence_row", "places"], ["attention_row"]),
            helper.make_node("Shape", [FEATURE_MAPS], ["map_shape"], start=2),
            helper.make_node("Shape", [FEATURE_MAPS], ["batch_shape"], end=1),
            helper.make_node("Concat", ["batch_shape", "map_shape"], ["attention_shape"], axis=0),
            helper.make_node("Reshape", ["attention_row", "attention_shape"], [ATTENTION]),
        ]
    )
    graph.graph.initializer.extend(_initializer(name, v) for name, v in constants.items())
    graph.graph.output.append(
        helper.make_tensor_value_info(ATTENTION, TensorProto.FLOAT, ["batch", "height", "width"])
    )


def _initializer(name: str, values: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def _described(classes: Sequence[str], gazetteer: Gazetteer) -> list[dict[str, Any]]:
    rows = []
    for landmark, name in zip(classes, gazetteer.shown_names(classes), strict=True):
        place = gazetteer.find(landmark)
        rows.append({"landmark": landmark, "name": name, "place": asdict(place) if place else None})
    return rows
