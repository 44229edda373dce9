"""One trial: the training half of a run, judged on validation photos alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from landmark_ml.inference.runtime import Runtime
from landmark_ml.networks.create import create_model, model_options
from landmark_ml.networks.onnx_trace import FEATURES, trace_backbone
from landmark_ml.networks.size import count_parameters
from landmark_ml.training.head_phase import view_features
from landmark_ml.training.loop import judge_logits
from landmark_ml.training.run import train_network
from landmark_ml.training.seeding import random_state, restore_random_state, seed_everything
from landmark_ml.training.targets import num_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.networks.create import LandmarkNetwork, ModelOptions
    from landmark_ml.training.devices import Compute

    OnEpochEnd = Callable[[dict[str, float]], None]

_TIMED = 30
_BYTES_PER_WEIGHT = 4


@dataclass
class FeatureMemory:
    """Features of all photos of the folds, kept in memory from one trial to the next."""

    photos: tuple[Photo, ...]
    _kept: dict[tuple[ModelOptions, int], Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = {photo.sha256: row for row, photo in enumerate(self.photos)}

    def of(
        self,
        options: ModelOptions,
        model: LandmarkNetwork,
        photos: Sequence[Photo],
        config: TrainConfig,
        compute: Compute,
    ) -> Tensor:
        """Features [views, N, F] of photos."""
        key = (options, config.views)
        if key not in self._kept:
            self._kept[key] = view_features(model, self.photos, config, compute)
        rows = torch.tensor([self._rows[photo.sha256] for photo in photos])
        return self._kept[key][:, rows]


@dataclass
class TrialRunner:
    """Trains configurations on the same folds; frozen networks are built once.

    Each training draws as a run of its configuration does, which builds its network: a frozen one
    is kept with the state that building it left the generators in.
    """

    folds: Sequence[Dataset]
    compute: Compute
    _networks: dict[tuple[ModelOptions, int], tuple[LandmarkNetwork, dict[str, Any]]] = field(
        default_factory=dict
    )
    _latencies: dict[ModelOptions, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self.folds[0]
        self._memory = FeatureMemory(first.train + first.val)

    def run(self, config: TrainConfig, on_epoch_end: OnEpochEnd) -> dict[str, float]:
        """val/top1, val/top3 and val/calibrated_loss, the mean over the folds.

        on_epoch_end gets the metrics of each epoch of the first fold; what it raises ends the
        trial.
        """
        found = []
        for fold in self.folds:
            on_epoch = on_epoch_end if fold is self.folds[0] else _pass_over
            found.append(self._run_fold(config, fold, on_epoch))
        return {name: statistics.fmean(each[name] for each in found) for name in found[0]}

    def latency_ms(self, config: TrainConfig, cache: Path) -> float:
        """Median milliseconds of one photo through the traced backbone, as it is served."""
        options = self._options(config)
        if options not in self._latencies:
            traced = trace_backbone(self._network(config), cache).SerializeToString()
            self._latencies[options] = _time_graph(traced, self._network(config))
        return self._latencies[options]

    def size_mb(self, config: TrainConfig) -> float:
        """Weights of the network in MB, in the precision they are exported in."""
        return count_parameters(self._network(config)) * _BYTES_PER_WEIGHT / 1e6

    def _run_fold(
        self, config: TrainConfig, fold: Dataset, on_epoch_end: OnEpochEnd
    ) -> dict[str, float]:
        options = self._options(config)

        def features(
            model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, compute: Compute
        ) -> Tensor:
            return self._memory.of(options, model, photos, config, compute)

        if config.finetune_epochs:
            # Fine-tuning changes the network, so every trial needs its own.
            seed_everything(config.seed)
            model = create_model(model_options(config, num_outputs(fold)))
        else:
            model = self._network(config)
        validation = train_network(
            model, fold, config, self.compute, on_epoch_end, features=features
        )
        return judge_logits(validation.logits, validation.targets, fold.num_classes)

    def _options(self, config: TrainConfig) -> ModelOptions:
        return replace(model_options(config, num_outputs(self.folds[0])), drop_rate=0.0)

    def _network(self, config: TrainConfig) -> LandmarkNetwork:
        """The frozen network, and generators that stand where building it leaves them."""
        options, seed = self._options(config), config.seed
        if (options, seed) not in self._networks:
            seed_everything(seed)
            self._networks[options, seed] = create_model(options), random_state()
        model, drawn = self._networks[options, seed]
        restore_random_state(drawn)
        return model


def _time_graph(traced: bytes, model: LandmarkNetwork) -> float:
    graph = Runtime.load(traced, threads=1, streams=1)
    side = model.preprocessing.resolution
    pixels = torch.zeros(1, side, side, 3, dtype=torch.uint8).numpy()
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        graph.run(pixels)[FEATURES]
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def _pass_over(_: dict[str, float]) -> None:
    """The learning curve of a trial is that of its first fold."""
