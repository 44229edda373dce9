"""The traced backbone: the features of torch, traced once for the same weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.create import LandmarkNetwork, create_model
from landmark_ml.networks.onnx_trace import (
    FEATURES,
    backbone_digest,
    has_feature_maps,
    trace_backbone,
)
from tests.tiny_networks import (
    TinyBackbone,
    lay_traced,
    random_pixels,
    small_config,
    tiny_model,
    tiny_preprocessing,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return lay_traced(tmp_path / "cache")


@pytest.fixture
def no_tracing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the backbone is traced again")

    monkeypatch.setattr(torch.onnx, "export", refuse)


def assert_computes_features(model: LandmarkNetwork, cache: Path, side: int) -> None:
    graph = Runtime.load(trace_backbone(model, cache).SerializeToString())
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


@pytest.mark.parametrize(
    ("backbone", "side", "averages"),
    [
        ("test_efficientnet", 32, True),
        pytest.param("test_vit", 160, False, marks=pytest.mark.slow),
    ],
)
def test_a_network_of_timm_is_traced_whole(
    backbone: str, side: int, averages: bool, tmp_path: Path
) -> None:
    model = create_model(small_config(backbone, resolution=side, drop_rate=0.5), 3)
    assert_computes_features(model.train(), tmp_path, side)
    assert has_feature_maps(trace_backbone(model, tmp_path)) == averages


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
    before = sorted((cache / "graphs").iterdir())
    assert trace_backbone(tiny_model(seed=1), None) == sound
    assert sorted((cache / "graphs").iterdir()) == before


@pytest.mark.parametrize("content", [b"no graph at all", b""], ids=["garbage", "empty"])
def test_a_damaged_graph_is_traced_again_with_a_warning(
    content: bytes,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = trace_backbone(tiny_model(), cache)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(model_proto=sound))
    stored = next((cache / "graphs").glob("*.onnx"))
    stored.write_bytes(content)
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
