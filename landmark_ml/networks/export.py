"""From a trained network to the served artifact: calibration, one portable ONNX graph, metadata.

The graph is the traced backbone with classifier, calibration and softmax added by hand, so training
and serving use the same features.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from landmark_ml.files import write_whole
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.inference.predictor import (
    ATTENTION,
    EMBEDDING,
    GRAPH_FILE,
    LANDMARK_SCORE,
    METADATA_FILE,
    PROBABILITIES,
    SCHEMA_VERSION,
    Metadata,
)
from landmark_ml.inference.runtime import FEATURE_MAPS, FEATURES, PRECISIONS, Runtime
from landmark_ml.networks.create import LandmarkNetwork, state_digest
from landmark_ml.networks.heads import Classifier, CosineClassifier
from landmark_ml.networks.rejection import TAIL, Rejection, spread

logger = logging.getLogger(__name__)

LOGITS, OUTPUTS, EVIDENCE = "logits", "outputs", "evidence"
"""Inner tensors of a graph; the last, of one with attention: what speaks for the best landmark."""
_PRECISION = 0.95
# Values of a weight; smaller ones would save nothing.
_SMALLEST_FP16 = 1024
# Share of a weight that rounding may change; fp16's 11 bits take a fifth of it.
_LARGEST_ROUNDING = 1e-3
_LARGEST_MIN_CONFIDENCE = 0.5
_MOST_COMPARED = 200
_PHOTOS_AT_ONCE = 1024
# Logits by which an epoch finds its temperature, which takes a dozen passes over them.
_MOST_FITTED = 1 << 23
_LOG_TEMPERATURES = (math.log(0.02), math.log(20.0))


@dataclass(frozen=True)
class Calibration:
    """temperature divides the logits; rejection: which photos show no landmark.

    min_confidence: confidence from which an answer names its landmark; below it the city or the
    country is answered where that is more certain. 0 always names the landmark. precision: of the
    network whose logits these values were fitted on; it is served in the same.
    """

    temperature: float
    rejection: Rejection
    min_confidence: float = 0.0
    precision: str = "f32"


def calibrate(
    logits: Tensor, targets: Tensor, num_classes: int, rejection: Rejection, precision: str = "f32"
) -> Calibration:
    """Fit temperature and min_confidence on logits [N, outputs] and targets [N] of validation.

    A target of num_classes is a photo of no landmark. precision: that the logits were computed in.
    """
    temperature = fit_temperature(logits, targets)
    probabilities = torch.softmax(logits / temperature, dim=1)[:, :num_classes]
    shows_one = targets < num_classes
    correct = (probabilities.argmax(dim=1) == targets)[shows_one].numpy()
    confidence = probabilities.amax(dim=1)[shows_one].numpy()
    min_confidence = choose_min_confidence(confidence, correct)
    return Calibration(temperature, rejection, min_confidence, precision)


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy of logits [N, outputs] and targets [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The mean confidence
    stays at most (N + 1) / (N + 2), all that N right answers can show (Laplace's rule of
    succession): where all are right, the loss alone would ask for certainty.
    """
    log_temperature = _best_log_temperature(logits, targets)
    limit = (len(logits) + 1) / (len(logits) + 2)

    def excess(log_temperature: float) -> float:
        probabilities = torch.softmax(logits / math.exp(log_temperature), dim=1)
        return float(probabilities.amax(dim=1).mean()) - limit

    highest = _LOG_TEMPERATURES[1]
    if excess(highest) > 0:
        log_temperature = highest
    elif excess(log_temperature) > 0:
        log_temperature = float(brentq(excess, log_temperature, highest))
    return math.exp(log_temperature)


def calibrated_loss(logits: Tensor, targets: Tensor) -> float:
    """Cross-entropy at its best temperature: what is wrong with logits apart from their scale.

    Label smoothing and few steps make logits small, long training makes them large. Served models
    are calibrated, so neither should decide between two epochs. The loss stays above 0 where all
    answers are right: else the first such epoch would be kept, whatever came after it. Of many
    logits the temperature is that of a part of the photos, evenly spread.
    """
    few = spread(len(logits), max(1, _MOST_FITTED // logits.shape[1]))
    temperature = math.exp(_best_log_temperature(logits[few], targets[few]))
    odds = []
    parts = (torch.split(each, _PHOTOS_AT_ONCE) for each in (logits, targets))
    for some, right in zip(*parts, strict=True):
        scaled = some.double() / temperature
        rivals = scaled - scaled.gather(1, right[:, None])
        odds.append(rivals.scatter(1, right[:, None], -math.inf).logsumexp(dim=1))
    # log(1 + odds); torch's own cross-entropy rounds its smallest values to 0.
    return float(functional.softplus(torch.cat(odds)).mean())


def choose_min_confidence(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Lowest confidence from which 95% of the answers on landmark photos are right, at most 0.5.

    confidence, correct: [N]. A calibrated answer above 0.5 is likelier right than wrong, so it is
    always given. 0 where that share of all answers is right.
    """
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    precise = np.flatnonzero(precision >= _PRECISION)
    if not len(precise):
        return _LARGEST_MIN_CONFIDENCE
    if precise[-1] == len(order) - 1:
        return 0.0
    return min(float(confidence[order[precise[-1]]]), _LARGEST_MIN_CONFIDENCE)


def _best_log_temperature(logits: Tensor, targets: Tensor) -> float:
    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(log_temperature), targets))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    # Where all answers are right the loss falls with the temperature, below float32's precision.
    return _LOG_TEMPERATURES[0] if found.fun < 1e-6 else float(found.x)


# Raise it when the graph of the same weights changes, so that it is traced again and its features
# are computed again.
_TRACING = 3


def export_network(
    model: LandmarkNetwork,
    calibration: Calibration,
    classes: tuple[str, ...],
    run_id: str,
    gazetteer: Gazetteer,
    *,
    folder: Path,
    cache: Path | None,
) -> Path:
    """Write `model.onnx` and `metadata.json` into a folder and return it.

    cache: where the traced backbone is kept, None for one that was fine-tuned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backbone = trace_backbone(model, cache)
    graph = add_classifier(backbone, model.classifier, len(classes), calibration)
    onnx.checker.check_model(graph)
    onnx.save(graph, folder / GRAPH_FILE)
    names = gazetteer.shown_names(classes)
    places = [gazetteer.find(label) for label in classes]
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "precision": calibration.precision,
        "preprocessing": asdict(model.preprocessing),
        "temperature": calibration.temperature,
        "threshold": calibration.rejection.threshold,
        "expected": calibration.rejection.expected,
        "min_confidence": calibration.min_confidence,
        "classes": [
            {"landmark": label, "name": name, "place": asdict(place) if place else None}
            for label, name, place in zip(classes, names, places, strict=True)
        ],
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    (folder / METADATA_FILE).write_text(text, encoding="utf-8")
    return folder


def compare_precisions(artifact: Path, photos: Sequence[Path]) -> None:
    """Write into `metadata.json` which share of photos shows the same landmark in bf16 and f32.

    Of many photos at most 200 are asked, evenly spread.
    """
    path = artifact / METADATA_FILE
    some = photos[:: math.ceil(len(photos) / _MOST_COMPARED)]
    # One core a photo: measured 1.7 to 2.4 times the speed of all cores on one photo.
    cores, answers = torch.get_num_threads(), []
    with ThreadPoolExecutor(cores) as pool:
        pixels = list(pool.map(Metadata.read(path).preprocessing.read, some))
        for precision in PRECISIONS:
            runtime = Runtime(
                artifact / GRAPH_FILE, precision=precision, threads=cores, streams=cores
            )
            found = pool.map(runtime.run, (photo[None] for photo in pixels))
            answers.append(np.concatenate([each[PROBABILITIES].argmax(axis=1) for each in found]))
    values = json.loads(path.read_text(encoding="utf-8"))
    values["f32_agreement"] = float(np.mean(answers[0] == answers[1]))
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")


def add_classifier(
    backbone: onnx.ModelProto, classifier: Classifier, num_classes: int, calibration: Calibration
) -> onnx.ModelProto:
    """Graph from pixels to `probabilities` [N, classes], `landmark_score` [N] and `attention`.

    And `embedding` at unit length, where photos that look alike lie near each other: [N, 256] of a
    cosine classifier, and of a linear one the features [N, F].
    A classifier with one output more than classes was trained with distractors: the probabilities
    then sum to 1 minus that of the background.
    """
    constants: dict[str, NDArray[Any]]
    if isinstance(classifier, CosineClassifier):
        _, count, width = classifier.weight.shape
        nodes = [
            helper.make_node("Gemm", [FEATURES, "projection", "bias"], ["projected"], transB=1),
            helper.make_node("LpNormalization", ["projected"], [EMBEDDING], axis=1, p=2),
            helper.make_node("Gemm", [EMBEDDING, "weight"], ["to_rows"], transB=1),
            helper.make_node("Reshape", ["to_rows", "outputs_shape"], ["to_outputs"]),
            helper.make_node("ReduceMax", ["to_outputs", "last_axis"], [LOGITS], keepdims=0),
        ]
        constants = {
            "projection": classifier.projection.weight.detach().cpu().numpy(),
            "bias": classifier.projection.bias.detach().cpu().numpy(),
            "weight": classifier.scaled_centres().flatten(0, 1).detach().cpu().numpy(),
            "outputs_shape": np.array([0, -1, count], dtype=np.int64),
            "last_axis": np.array([2], dtype=np.int64),
        }
    else:
        count, width = 1, classifier.in_features
        nodes = [
            helper.make_node("Gemm", [FEATURES, "weight", "bias"], [LOGITS], transB=1),
            helper.make_node("LpNormalization", [FEATURES], [EMBEDDING], axis=1, p=2),
        ]
        constants = {
            "weight": classifier.weight.detach().cpu().numpy(),
            "bias": classifier.bias.detach().cpu().numpy(),
        }
    nodes += [
        helper.make_node("Div", [LOGITS, "temperature"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], [OUTPUTS], axis=1),
        helper.make_node("Slice", [OUTPUTS, "first", "last", "axis"], [PROBABILITIES]),
    ]
    constants |= {
        "temperature": np.array(calibration.temperature, dtype=np.float32),
        "first": np.array([0], dtype=np.int64),
        "last": np.array([num_classes], dtype=np.int64),
        "last_row": np.array([num_classes * count], dtype=np.int64),
        "axis": np.array([1], dtype=np.int64),
    }
    graph = onnx.ModelProto()
    graph.CopyFrom(backbone)
    graph.graph.node.extend(nodes)
    _add_constants(graph, constants)
    _add_score(graph, calibration.rejection)
    del graph.graph.output[:]
    graph.graph.output.extend(
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", num_classes]),
            helper.make_tensor_value_info(LANDMARK_SCORE, TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", width]),
        ]
    )
    _add_attention(graph, classifier)
    store_as_fp16(graph)
    return graph


def _add_score(graph: onnx.ModelProto, rejection: Rejection) -> None:
    """Add the output `landmark_score` [N]: `rejection.signals`, weighed and ranked."""
    nodes, references = graph.graph.node, rejection.references
    constants: dict[str, NDArray[Any]] = {"weights": rejection.weights[:, None]}

    def add(kind: str, inputs: str, output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, inputs.split(), [output], **attributes))

    add("LogSoftmax", LOGITS, "log_outputs", axis=1)
    add("Slice", "log_outputs first last axis", "log_probabilities")
    add("ReduceMax", "log_probabilities axis", "log_probability", keepdims=1)
    ranked = ["weighed"]
    if references is None:
        add("MatMul", "log_probability weights", "weighed")
    else:
        constants["references"] = references.logits.T.numpy()
        add("Slice", "logits first last axis", "landmark_logits")
        add("ReduceMax", "landmark_logits axis", "best_logit", keepdims=1)
        add("ReduceMean", "landmark_logits axis", "mean_logit", keepdims=1)
        add("Sub", "best_logit mean_logit", "lead")
        add("Sub", "landmark_logits mean_logit", "centred")
        add("ReduceL2", "centred axis", "centred_length", keepdims=1)
        add("Div", "centred centred_length", "direction")
        add("MatMul", "direction references", "similarities")
        add("ReduceMax", "similarities axis", "nearest", keepdims=1)
        add("Concat", "log_probability best_logit lead nearest", "signals", axis=1)
        add("MatMul", "signals weights", "weighed")
    if references is not None and len(rejection.known) > 1:
        constants["feature_mean"] = references.mean.numpy()
        constants["feature_scale"] = references.scale.numpy()
        constants["centres"] = references.centres.T.numpy()
        add("Sub", "features feature_mean", "moved")
        add("Div", "moved feature_scale", "standard")
        add("ReduceL2", "standard axis", "length", keepdims=1)
        add("Neg", "length", "shortness")
        add("Div", "standard length", "standard_direction")
        add("MatMul", "standard_direction centres", "to_centres")
        add("ReduceMax", "to_centres axis", "to_centre", keepdims=1)
        ranked += ["to_centre", "shortness"]
    for place, (name, known) in enumerate(zip(ranked, rejection.known, strict=True)):
        constants[f"known_{name}"] = known[None]
        constants[f"tail_{name}"] = np.array(TAIL if place else 1, dtype=np.float32)
        add("GreaterOrEqual", f"{name} known_{name}", f"above_{name}")
        add("Cast", f"above_{name}", f"counted_{name}", to=TensorProto.FLOAT)
        add("ReduceMean", f"counted_{name} axis", f"share_{name}", keepdims=0)
        add("Mul", f"share_{name} tail_{name}", f"rank_{name}")
    add("Min", " ".join(f"rank_{name}" for name in ranked), LANDMARK_SCORE)
    _add_constants(graph, constants)


def _add_attention(graph: onnx.ModelProto, classifier: Classifier) -> None:
    """Add the output `attention` [N, h, w]: how much each place speaks for the best landmark.

    The class activation map of Zhou et al., Learning deep features for discriminative localization
    (CVPR 2016), minus what speaks for all classes alike, which the softmax does not see.
    """
    cosine = isinstance(classifier, CosineClassifier)
    constants = {
        "row_shape": np.array([0, 1, classifier.in_features], dtype=np.int64),
        "places_shape": np.array([0, 0, -1], dtype=np.int64),
    }
    answers, evidence = ("to_rows", "evidence_embedded") if cosine else (LOGITS, EVIDENCE)
    graph.graph.node.extend(
        [
            helper.make_node("Slice", [answers, "first", "last_row", "axis"], ["landmark_rows"]),
            helper.make_node("ArgMax", ["landmark_rows"], ["best"], axis=1, keepdims=0),
            helper.make_node("Gather", ["weight", "best"], ["best_weight"], axis=0),
            helper.make_node("ReduceMean", ["weight", "first"], ["weight_mean"], keepdims=1),
            helper.make_node("Sub", ["best_weight", "weight_mean"], [evidence]),
            *(
                # From the embedding back to the features that speak for it.
                [helper.make_node("MatMul", [evidence, "projection"], [EVIDENCE])] if cosine else []
            ),
            helper.make_node("Reshape", [EVIDENCE, "row_shape"], ["evidence_row"]),
            helper.make_node("Reshape", [FEATURE_MAPS, "places_shape"], ["places"]),
            helper.make_node("MatMul", ["evidence_row", "places"], ["attention_row"]),
            helper.make_node("Shape", [FEATURE_MAPS], ["map_shape"], start=2),
            helper.make_node("Shape", [FEATURE_MAPS], ["batch_shape"], end=1),
            helper.make_node("Concat", ["batch_shape", "map_shape"], ["attention_shape"], axis=0),
            helper.make_node("Reshape", ["attention_row", "attention_shape"], [ATTENTION]),
        ]
    )
    _add_constants(graph, constants)
    graph.graph.output.append(
        helper.make_tensor_value_info(ATTENTION, TensorProto.FLOAT, ["batch", "height", "width"])
    )


def _add_constants(graph: onnx.ModelProto, constants: dict[str, NDArray[Any]]) -> None:
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, order="C"), name)
        for name, values in constants.items()
    )


def store_as_fp16(graph: onnx.ModelProto) -> None:
    """Store large weights of convolutions and matrix products in half the bytes, in place.

    The graph casts them back to float32, and OpenVINO does so once, when it compiles. Weights too
    large or too small for fp16 stay as they are.
    """
    products = ("Conv", "Gemm", "MatMul")
    weights = {node.input[1] for node in graph.graph.node if node.op_type in products}
    casts = []
    for tensor in graph.graph.initializer:
        large = tensor.name in weights and math.prod(tensor.dims) >= _SMALLEST_FP16
        if not large or tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = values.astype(np.float16)
            lost = np.linalg.norm(values - rounded)
        # NaN is not small.
        if not lost <= _LARGEST_ROUNDING * np.linalg.norm(values):
            continue
        name, stored = tensor.name, f"{tensor.name}_fp16"
        tensor.CopyFrom(numpy_helper.from_array(rounded, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    # Before the nodes that read them.
    for place, cast in enumerate(casts):
        graph.graph.node.insert(place, cast)


def backbone_digest(model: LandmarkNetwork) -> str:
    """Identity of the way from pixels to features: weights below the classifier, normalisation."""
    weights = state_digest(model.network, skip=model.classifier)
    # Two architectures may share their weights and differ in padding or activation.
    versions = [version(name) for name in ("torch", "timm", "openvino")]
    layers = [repr(layer) for layer in model.network.children() if layer is not model.classifier]
    # Weights do not tell which stages are stacked; the number of features does.
    seen = [model.classifier.in_features, model.mirror, asdict(model.preprocessing)]
    identity = json.dumps([weights, layers, seen, versions, _TRACING])
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def trace_backbone(model: LandmarkNetwork, cache: Path | None) -> onnx.ModelProto:
    """Graph from `images` uint8 [N, H, W, 3] to `features` float32 [N, F].

    Its inner tensor FEATURE_MAPS is what the features average. Tracing takes seconds, so the folder
    `cache` keeps the graph of the same weights; None keeps nothing, for fine-tuned weights that no
    other run will have. The graph gives the features of torch on two photos: a file
    of the cache that does not is traced again. Raises ValueError when a new one does not either.
    """
    device, side = model.mean.device, model.preprocessing.resolution
    # A generator of its own: whether a graph was cached must not change what is trained. Tracing
    # specialises batches of 0 and 1, so the example holds 2 photos.
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, side, side, 3), generator=rng, dtype=torch.uint8)
    backbone = _Backbone(model).cpu().eval()
    with torch.no_grad():
        features, _ = backbone(images)
    path = None
    if cache is not None:
        path = cache / "graphs" / f"{backbone_digest(model)}.onnx"
        try:
            cached = onnx.load(path)
            _check_features(cached, images, features)
            model.to(device)
            return cached
        except FileNotFoundError:
            pass
        except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
            logger.warning("cached graph %s is damaged (%s); tracing again", path, error)
    # The exporter takes operations that write into their input apart, in a third of its time.
    in_place: list[Any] = [m for m in backbone.modules() if getattr(m, "inplace", False)]
    for module in in_place:
        module.inplace = False
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    # Progress and internal deprecations of the exporter, which no user can act on.
    exporter.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            backbone,
            (images,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            input_names=["images"],
            output_names=[FEATURES, FEATURE_MAPS],
            verbose=False,
        )
    exporter.setLevel(level)
    for module in in_place:
        module.inplace = True
    model.to(device)
    if program is None:
        raise ValueError("the exporter returned no graph; update torch and onnxscript")
    graph = program.model_proto
    # The maps stay inside: as an output they would be copied for every photo.
    del graph.graph.output[1:]
    # Now, so that a head learns on features of the weights that are served.
    store_as_fp16(graph)
    _check_features(graph, images, features)
    if path is not None:
        write_whole(path, graph.SerializeToString())
    return graph


def _check_features(graph: onnx.ModelProto, images: Tensor, features: Tensor) -> None:
    """Raise ValueError (or what ONNX and OpenVINO raise) for a graph that gives other features."""
    # An empty file parses as a graph of nothing.
    onnx.checker.check_model(graph)
    found = Runtime(graph.SerializeToString()).run(images.numpy())[FEATURES]
    difference = float(np.abs(found - features.numpy()).max())
    # Rounding differs by a thousandth of this. NaN is no agreement.
    if not difference <= 0.01 * float(features.abs().max()):
        raise ValueError(
            f"the features of the graph differ by {difference:.3g} from those of torch, the largest"
            f" of which is {float(features.abs().max()):.3g}; update torch and onnxscript"
        )


class _Backbone(nn.Module):
    def __init__(self, model: LandmarkNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.model.feature_maps(images.permute(0, 3, 1, 2))
        return self.model.pool(maps), maps
