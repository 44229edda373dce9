"""The traced backbone and the served artifact: the features and probabilities of torch."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn import functional

from landmark_ml.geo.gazetteer import Gazetteer, Place
from landmark_ml.inference.predictor import Metadata
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import FEATURE_MAPS, FEATURES, Runtime
from landmark_ml.networks import export, heads
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.export import (
    Calibration,
    add_classifier,
    backbone_digest,
    compare_precisions,
    export_network,
    trace_backbone,
)
from landmark_ml.networks.heads import CosineClassifier
from tests.photo_folders import write_class
from tests.tiny_networks import (
    SIDE,
    TinyBackbone,
    lay_traced,
    processor_of,
    random_pixels,
    score_of_probability,
    small_config,
    tiny_model,
    tiny_preprocessing,
)

CALIBRATION = Calibration(0.37, score_of_probability(0.61), min_confidence=0.4)
TOWER = Place("Eiffel Tower", "Paris", "France", "FR", 48.8584, 2.2945, ("tower", "paris"))
BRIDGE = Place("Tower Bridge", "London", "United Kingdom", "GB", 51.5055, -0.0754, ("bridge",))
PLACES = Gazetteer({"Tour Eiffel": TOWER, "Iron Lady": TOWER, "Tower Bridge": BRIDGE})
CLASSES = ("Tour Eiffel", "Tower Bridge", "Nowhere")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return lay_traced(tmp_path / "cache")


def exported(num_outputs: int, cache: Path) -> Path:
    folder = cache.parent / "made" / "artifact"
    model = tiny_model(num_outputs)
    return export_network(model, CALIBRATION, CLASSES, "abc", PLACES, folder=folder, cache=cache)


@pytest.mark.parametrize("num_outputs", [3, 4], ids=["landmarks alone", "with background"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_graph_gives_the_calibrated_probabilities_of_torch(
    num_outputs: int, count: int, cache: Path
) -> None:
    graph = Runtime(exported(num_outputs, cache) / "model.onnx")
    pixels = random_pixels(count)
    with torch.no_grad():
        logits = tiny_model(num_outputs)(pixels.permute(0, 3, 1, 2))
    expected = (logits / CALIBRATION.temperature).softmax(dim=1)[:, :3].numpy()
    found = graph.run(pixels.numpy())
    assert set(found) == {"probabilities", "landmark_score", "embedding", "attention"}
    assert found["probabilities"].shape == (count, 3)
    assert np.allclose(found["probabilities"], expected, atol=1e-4)
    # The score of this calibration is the best probability before the temperature.
    score = logits.softmax(dim=1)[:, :3].amax(dim=1).numpy()
    assert found["landmark_score"].shape == (count,)
    assert np.allclose(found["landmark_score"], score, atol=0.002)
    # The rest, up to 1, is the probability of the background.
    assert bool((found["probabilities"].sum(axis=1) < 0.999).all()) == (num_outputs == 4)


def test_the_embedding_is_the_features_at_unit_length(cache: Path) -> None:
    model, pixels = tiny_model(3), random_pixels(5)
    found = Runtime(exported(3, cache) / "model.onnx").run(pixels.numpy())["embedding"]
    with torch.no_grad():
        expected = functional.normalize(model.features(pixels.permute(0, 3, 1, 2)), dim=1)
    assert found == pytest.approx(expected.numpy(), abs=1e-4)


@pytest.mark.parametrize("centres", [1, 2])
def test_a_cosine_classifier_is_exported_with_its_embedding_and_attention(
    centres: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_CENTRES", centres)
    model, pixels = tiny_model(3), random_pixels(5)
    classifier = CosineClassifier(8, 4, torch.Generator().manual_seed(1))
    model.network.head = classifier
    graph = add_classifier(trace_backbone(model, cache), classifier, 3, CALIBRATION)
    onnx.checker.check_model(graph)
    found = Runtime(graph.SerializeToString()).run(pixels.numpy())
    with torch.no_grad():
        maps = model.feature_maps(pixels.permute(0, 3, 1, 2))
        features = model.pool(maps)
        probabilities = (classifier(features) / 0.37).softmax(dim=1)[:, :3]
        rows = classifier.scaled_centres()
        best = probabilities.argmax(dim=1)
        embedding = classifier.embed(features)
        nearest = (rows[best] @ embedding[:, :, None]).argmax(dim=1).flatten()
        evidence = rows[best, nearest] - rows.mean(dim=(0, 1))
        evidence = evidence @ classifier.projection.weight
    assert np.allclose(found["probabilities"], probabilities, atol=1e-3)
    assert np.allclose(found["embedding"], embedding, atol=1e-3)
    expected = torch.einsum("nc,nchw->nhw", evidence, maps).numpy()
    assert np.allclose(found["attention"], expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("num_outputs", [3, 4], ids=["landmarks alone", "with background"])
def test_attention_says_how_much_each_place_spoke_for_the_best_landmark(
    num_outputs: int, cache: Path
) -> None:
    model, pixels = tiny_model(num_outputs), random_pixels(5)
    found = Runtime(exported(num_outputs, cache) / "model.onnx").run(pixels.numpy())
    with torch.no_grad():
        maps = model.feature_maps(pixels.permute(0, 3, 1, 2))
    best = model.classifier.weight[found["probabilities"].argmax(axis=1)]
    evidence = (best - model.classifier.weight.mean(dim=0)).detach()
    expected = torch.einsum("nc,nchw->nhw", evidence, maps).numpy()
    assert found["attention"].shape == (5, SIDE // 4, SIDE // 4)
    assert np.allclose(found["attention"], expected, atol=1e-4)


def test_metadata_says_what_the_graph_does_not(cache: Path) -> None:
    folder = exported(3, cache)
    assert sorted(path.name for path in folder.iterdir()) == ["metadata.json", "model.onnx"]
    metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert Preprocessing.from_dict(metadata.pop("preprocessing")) == tiny_preprocessing()
    assert metadata == {
        "schema_version": 2,
        "run_id": "abc",
        "precision": "f32",
        "temperature": 0.37,
        "threshold": 0.61,
        "expected": {},
        "min_confidence": 0.4,
        "classes": [
            {
                "landmark": "Tour Eiffel",
                "name": "Eiffel Tower",
                "place": {
                    "name": "Eiffel Tower",
                    "city": "Paris",
                    "country": "France",
                    "country_code": "FR",
                    "latitude": 48.8584,
                    "longitude": 2.2945,
                    "tags": ["tower", "paris"],
                },
            },
            {
                "landmark": "Tower Bridge",
                "name": "Tower Bridge",
                "place": metadata["classes"][1]["place"],
            },
            {"landmark": "Nowhere", "name": "Nowhere", "place": None},
        ],
    }


def test_the_share_of_photos_answered_alike_in_both_precisions_is_written_beside_the_network(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = exported(3, cache)
    write_class(tmp_path / "photos", range(5))
    photos = sorted((tmp_path / "photos").iterdir())
    alike = [True, True, False, True, True]
    ask = Runtime.run

    def run(runtime: Runtime, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        found = dict(ask(runtime, pixels))
        if len(runtime._parts) == 2:
            # Not the landmark that f32 answers.
            swapped = np.roll(found["probabilities"], 1, axis=1)
            same = np.array([alike.pop(0) for _ in pixels])[:, None]
            found["probabilities"] = np.where(same, found["probabilities"], swapped)
        return found

    processor_of(monkeypatch, has_bf16=True)
    monkeypatch.setattr(Runtime, "run", run)
    before = Metadata.read(artifact / "metadata.json")
    compare_precisions(artifact, photos)
    after = Metadata.read(artifact / "metadata.json")
    assert (before.f32_agreement, after.f32_agreement) == (None, 0.8)
    assert after == replace(before, f32_agreement=0.8)


def test_exporting_does_not_change_the_cached_backbone(cache: Path) -> None:
    stored = next((cache / "graphs").glob("*.onnx"))
    before = stored.read_bytes()
    exported(4, cache)
    assert stored.read_bytes() == before


@pytest.fixture
def no_tracing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the backbone is traced again")

    monkeypatch.setattr(torch.onnx, "export", refuse)


def assert_computes_features(model: LandmarkNetwork, cache: Path, side: int) -> None:
    graph = Runtime(trace_backbone(model, cache).SerializeToString())
    for count in (1, 5):
        pixels = random_pixels(count, side=side)
        with torch.no_grad():
            expected = model.eval().features(pixels.permute(0, 3, 1, 2))
        found = graph.run(pixels.numpy())[FEATURES]
        assert found.shape == expected.shape
        assert np.allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.usefixtures("no_tracing")
def test_the_graph_computes_the_features_of_torch(cache: Path) -> None:
    assert_computes_features(tiny_model(), cache, 16)


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "side"), [("test_efficientnet", 32), ("test_vit", 160)])
def test_a_network_of_timm_is_traced_whole(backbone: str, side: int, tmp_path: Path) -> None:
    model = create_model(small_config(backbone, resolution=side, drop_rate=0.5), 3)
    # Rounded as the graph stores them, so that nothing else may differ.
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.weight.data = module.weight.data.half().float()
    assert_computes_features(model.train(), tmp_path, side)
    graph = trace_backbone(model, tmp_path).graph
    assert any(FEATURE_MAPS in node.output for node in graph.node)


@pytest.mark.usefixtures("no_tracing")
def test_a_cached_graph_is_used_again(cache: Path) -> None:
    model = tiny_model()
    first = trace_backbone(model, cache)
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert trace_backbone(model, cache) == first


def test_weights_of_one_run_are_traced_without_being_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = trace_backbone(tiny_model(), cache)
    traced = SimpleNamespace(model_proto=sound)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: traced)
    before = sorted(cache.rglob("*"))
    assert trace_backbone(tiny_model(), None) == sound
    assert sorted(cache.rglob("*")) == before


def test_large_weights_take_half_the_bytes_and_answer_as_their_rounded_values_do(
    cache: Path,
) -> None:
    classes = 400
    classifier = nn.Linear(8, classes)
    with torch.no_grad():
        classifier.weight.copy_(torch.randn(classes, 8, generator=torch.Generator().manual_seed(0)))
    backbone = trace_backbone(tiny_model(), cache)
    graph = add_classifier(backbone, classifier, classes, CALIBRATION)
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    assert len(stored["weight_fp16"].raw_data) == 2 * classes * 8
    assert "weight" not in stored
    # Small constants, and those that scores are ranked among, stay as they are.
    assert {stored[name].data_type for name in ("bias", "known_weighed")} == {TensorProto.FLOAT}
    onnx.checker.check_model(graph)

    pixels = random_pixels(5)
    with torch.no_grad():
        features = tiny_model().features(pixels.permute(0, 3, 1, 2))
        logits = features @ classifier.weight.half().float().T + classifier.bias
    found = Runtime(graph.SerializeToString()).run(pixels.numpy())["probabilities"]
    assert np.allclose(found, (logits / CALIBRATION.temperature).softmax(1).numpy(), atol=1e-5)


@pytest.mark.parametrize("largest", [1e5, 1e-6, math.inf, math.nan])
def test_weights_that_fp16_cannot_hold_stay_as_they_are(cache: Path, largest: float) -> None:
    classifier = nn.Linear(8, 400)
    with torch.no_grad():
        classifier.weight.mul_(min(largest, 1.0))[3, 4] = largest
    backbone = trace_backbone(tiny_model(), cache)
    graph = add_classifier(backbone, classifier, 400, CALIBRATION).graph
    (kept,) = [tensor for tensor in graph.initializer if tensor.name == "weight"]
    stored, weight = numpy_helper.to_array(kept), classifier.weight.detach().numpy()
    assert np.array_equal(stored, weight, equal_nan=True)


def test_a_traced_backbone_has_the_rounded_weights_that_are_served(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = trace_backbone(tiny_model(), cache)
    (name,) = [node.input[1] for node in exact.graph.node if node.op_type == "Conv"]
    rounded = copy.deepcopy(exact)
    (weight,) = [tensor for tensor in rounded.graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(values, name))
    pixels = random_pixels(5).numpy()
    served, as_trained = (
        Runtime(graph.SerializeToString()).run(pixels)[FEATURES] for graph in (rounded, exact)
    )

    monkeypatch.setattr(export, "_SMALLEST_FP16", 1)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(model_proto=exact))
    traced = trace_backbone(tiny_model(), None).SerializeToString()
    found = Runtime(traced).run(pixels)[FEATURES]
    assert np.array_equal(found, served)
    assert not np.array_equal(found, as_trained)


def without_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every constant 0: valid, and of no use."""
    emptied = onnx.ModelProto()
    emptied.CopyFrom(graph)
    for constant in emptied.graph.initializer:
        if constant.data_type == onnx.TensorProto.FLOAT:
            values = np.zeros_like(onnx.numpy_helper.to_array(constant))
            constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    return emptied


def test_a_graph_that_does_not_compute_the_features_of_torch_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(model_proto=without_weights(trace_backbone(tiny_model(), cache)))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: other)
    with pytest.raises(ValueError, match=r"features of the graph differ by .* update torch"):
        trace_backbone(tiny_model(), None)


@pytest.mark.parametrize("content", [b"no graph at all", b"", None], ids=["garbage", "empty", "0"])
def test_a_damaged_graph_is_traced_again_with_a_warning(
    content: bytes | None,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = trace_backbone(tiny_model(), cache)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(model_proto=sound))
    stored = next((cache / "graphs").glob("*.onnx"))
    stored.write_bytes(without_weights(sound).SerializeToString() if content is None else content)
    graph = trace_backbone(tiny_model(), cache)
    assert graph == sound
    assert "is damaged" in caplog.text
    assert stored.name in caplog.text
    assert stored.read_bytes() == graph.SerializeToString()
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_the_digest_follows_weights_and_preprocessing_but_not_the_classifier() -> None:
    plain = backbone_digest(tiny_model())
    model = tiny_model()
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert backbone_digest(model) == plain == backbone_digest(tiny_model())
    assert backbone_digest(tiny_model(num_outputs=9)) == plain
    others = [tiny_model(seed=1)] + [
        LandmarkNetwork(tiny_model().network, changed)
        for changed in (
            tiny_preprocessing("crop"),
            tiny_preprocessing(mean=0.4),
            replace(tiny_preprocessing(), resize=40),
        )
    ]
    digests = {backbone_digest(other) for other in others}
    assert len(digests) == 4
    assert plain not in digests


def test_what_batch_norm_has_seen_is_part_of_the_weights() -> None:
    model = tiny_model()
    assert isinstance(model.network, TinyBackbone)
    model.network.norm.running_mean.add_(1)  # type: ignore[union-attr]
    assert backbone_digest(model) != backbone_digest(tiny_model())
