"""A network small enough to trace and train in a blink, behind the interface of timm's."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from landmark_ml.config import TrainConfig
from landmark_ml.inference import runtime
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.networks.create import LandmarkNetwork
from landmark_ml.networks.export import trace_backbone
from landmark_ml.networks.rejection import Rejection
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.cache import StoredRows
from landmark_ml.training.devices import Compute
from landmark_ml.training.loop import OnEpochEnd, finetune_state, fit

if TYPE_CHECKING:
    import pytest

    from landmark_ml.training.checkpoint import RunSaver

CPU = Compute(torch.device("cpu"), bf16=False)
SIDE = 16


class TinyBackbone(nn.Module):
    """One convolution, pooled: what it sees is little more than the colours of a photo."""

    def __init__(self, num_outputs: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_outputs)

    def forward_features(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.stem(pixels)).relu()
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = maps.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(pixels))

    def get_classifier(self) -> nn.Module:
        return self.head


def tiny_preprocessing(framing: str = "squash", mean: float = 0.5) -> Preprocessing:
    return Preprocessing(
        resolution=SIDE,
        resize=SIDE + 4,
        framing=framing,
        interpolation="bicubic",
        mean=(mean, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def tiny_model(num_outputs: int = 3, seed: int = 0) -> LandmarkNetwork:
    """Network of `SIDE` pixels whose weights are those of the seed, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LandmarkNetwork(TinyBackbone(num_outputs), tiny_preprocessing())
    return model.eval()


def small_config(backbone: str = "test_efficientnet", **changes: Any) -> TrainConfig:
    """One plain network from random weights, and a training with nothing extra switched on."""
    plain: dict[str, Any] = {
        "backbone": backbone,
        "weights": "random",
        "resolution": 32,
        "feature_stages": 0,
        "pooling": "average",
        "epochs": 0,
        "finetune_epochs": 1,
        "layer_decay": 1.0,
        "label_smoothing": 0.0,
    }
    return TrainConfig(**(plain | changes))


def fit_on_pixels(
    model: nn.Module,
    train: TensorBatches,
    val: TensorBatches | None,
    config: TrainConfig,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
    compute: Compute = CPU,
) -> dict[str, float]:
    """What the fine-tuning phase does with batches of three classes."""
    state = finetune_state(model, config, compute, len(train))
    return fit(state, train, val, config, 3, on_epoch_end, saver)


def stored(features: Tensor) -> StoredRows:
    """Features [N, F] as `compute_features` gives them."""
    return StoredRows(features, torch.arange(len(features)))


def random_pixels(count: int, seed: int = 0, side: int = SIDE) -> Tensor:
    """Noise as photos come out of the preprocessing: uint8 [N, side, side, 3]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def lay_traced(cache: Path) -> Path:
    """Put the graph of `tiny_model()` into a cache folder, traced once in all the tests."""
    name, content = _traced()
    path = cache / "graphs" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return cache


@functools.cache
def _traced() -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        trace_backbone(tiny_model(), Path(folder))
        (path,) = Path(folder).rglob("*.onnx")
        return path.name, path.read_bytes()


def processor_of(monkeypatch: pytest.MonkeyPatch, *, has_bf16: bool) -> list[tuple[str, str]]:
    """Let OpenVINO and torch say that this processor has bf16 or not; OpenVINO computes in f32.

    The list grows by the first output of each graph and the precision asked for it.
    """
    core, asked = runtime._core(), []

    def compile_model(model: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.append((model.output(0).get_any_name(), settings["INFERENCE_PRECISION_HINT"]))
        return core.compile_model(model, device, settings | {"INFERENCE_PRECISION_HINT": "f32"})

    capabilities = ["FP32", "INT8", *(["BF16"] if has_bf16 else [])]
    stand_in = SimpleNamespace(
        read_model=core.read_model,
        compile_model=compile_model,
        get_property=lambda *_: capabilities,
    )
    monkeypatch.setattr(runtime, "_core", lambda: stand_in)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    return asked


def score_of_probability(threshold: float) -> Rejection:
    """A landmark score that is the best probability itself, to a thousandth."""
    known = np.log(np.linspace(0, 1, 1001, dtype=np.float32)[1:])
    return Rejection(np.ones(1, dtype=np.float32), (known,), None, {}, threshold)
