"""The served artifact: the very probabilities of torch, and metadata that says all the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.geo.place import Place
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.calibration import Calibration, landmark_scores
from landmark_ml.networks.export import ArtifactInfo, export_network, lay_classifier
from landmark_ml.networks.onnx_trace import FEATURE_MAPS, trace_backbone
from tests.tiny_networks import SIDE, lay_traced, random_pixels, tiny_model, tiny_preprocessing

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATION = Calibration(temperature=0.37, threshold=0.61, min_confidence=0.4)
TOWER = Place("Eiffel Tower", "Paris", "France", "FR", 48.8584, 2.2945, ("tower", "paris"))
BRIDGE = Place("Tower Bridge", "London", "United Kingdom", "GB", 51.5055, -0.0754, ("bridge",))
PLACES = Gazetteer({"Tour Eiffel": TOWER, "Iron Lady": TOWER, "Tower Bridge": BRIDGE})
INFO = ArtifactInfo(("Tour Eiffel", "Tower Bridge", "Nowhere"), run_id="abc", precision="bf16")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return lay_traced(tmp_path / "cache")


def exported(num_outputs: int, cache: Path) -> Path:
    folder = cache.parent / "made" / "artifact"
    model = tiny_model(num_outputs)
    return export_network(model, CALIBRATION, INFO, PLACES, folder=folder, cache=cache)


@pytest.mark.parametrize("num_outputs", [3, 4], ids=["landmarks alone", "with background"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_graph_gives_the_calibrated_probabilities_of_torch(
    num_outputs: int, count: int, cache: Path
) -> None:
    graph = Runtime.load(exported(num_outputs, cache) / "model.onnx")
    pixels = random_pixels(count)
    with torch.no_grad():
        logits = tiny_model(num_outputs)(pixels.permute(0, 3, 1, 2))
    expected = (logits / CALIBRATION.temperature).softmax(dim=1)[:, :3].numpy()
    found = graph.run(pixels.numpy())
    assert set(found) == {"probabilities", "landmark_score", "attention"}
    assert found["probabilities"].shape == (count, 3)
    assert np.allclose(found["probabilities"], expected, atol=1e-4)
    score = landmark_scores(torch.from_numpy(expected)).numpy()
    assert found["landmark_score"].shape == (count,)
    assert np.allclose(found["landmark_score"], score, atol=1e-4)
    # What is left to 1 is the background's.
    assert bool((found["probabilities"].sum(axis=1) < 0.999).all()) == (num_outputs == 4)


@pytest.mark.parametrize("num_outputs", [3, 4], ids=["landmarks alone", "with background"])
def test_attention_says_how_much_each_place_spoke_for_the_best_landmark(
    num_outputs: int, cache: Path
) -> None:
    model, pixels = tiny_model(num_outputs), random_pixels(5)
    found = Runtime.load(exported(num_outputs, cache) / "model.onnx").run(pixels.numpy())
    with torch.no_grad():
        maps = model.feature_maps(pixels.permute(0, 3, 1, 2))
    best = model.classifier.weight[found["probabilities"].argmax(axis=1)]
    evidence = (best - model.classifier.weight.mean(dim=0)).detach()
    expected = torch.einsum("nc,nchw->nhw", evidence, maps).numpy()
    assert found["attention"].shape == (5, SIDE // 4, SIDE // 4)
    assert np.allclose(found["attention"], expected, atol=1e-4)


def test_a_backbone_that_does_not_average_its_maps_has_no_attention(cache: Path) -> None:
    backbone = trace_backbone(tiny_model(), cache)
    for node in backbone.graph.node:
        for names in (node.input, node.output):
            names[:] = ["unpooled" if name == FEATURE_MAPS else name for name in names]
    graph = lay_classifier(backbone, tiny_model().classifier, 3, temperature=1.0)
    assert [output.name for output in graph.graph.output] == ["probabilities", "landmark_score"]


def test_metadata_says_what_the_graph_does_not(cache: Path) -> None:
    folder = exported(3, cache)
    assert sorted(path.name for path in folder.iterdir()) == ["metadata.json", "model.onnx"]
    metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert Preprocessing.from_dict(metadata.pop("preprocessing")) == tiny_preprocessing()
    assert metadata == {
        "schema_version": 2,
        "run_id": "abc",
        "precision": "bf16",
        "temperature": 0.37,
        "threshold": 0.61,
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


def test_exporting_does_not_change_the_cached_backbone(cache: Path) -> None:
    stored = next((cache / "graphs").glob("*.onnx"))
    before = stored.read_bytes()
    exported(4, cache)
    assert stored.read_bytes() == before
