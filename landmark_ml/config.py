"""Configuration: frozen dataclasses, the only source of flags and `MLproject` parameters."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

_UNIT_INTERVAL = (
    "max_unreadable",
    "drop_rate",
    "label_smoothing",
    "erasing",
    "ema_decay",
    "mix_probability",
    "layer_decay",
)
_OPEN_SHARES = ("val_fraction", "test_fraction", "min_crop")
_NOT_NEGATIVE = (
    "seed",
    "resolution",
    "start_resolution",
    "epochs",
    "finetune_epochs",
    "weight_decay",
    "mixup",
    "cutmix",
    "warmup_epochs",
    "patience",
    "color_jitter",
    "finetune_learning_rate",
    "threads",
)
_POSITIVE = ("batch_size", "finetune_batch_size", "learning_rate", "views", "clip_grad", "most")

UDACITY50_URL = "https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip"


def option(default: Any, meaning: str, *, unit: str = "", choices: tuple[str, ...] = ()) -> Any:
    """Field of a configuration with what a reader of `--help` and of the README needs."""
    return field(default=default, metadata={"help": meaning, "unit": unit, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What all configurations share: their values are checked when they are set."""

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class DataConfig(Configuration):
    """Which photos, and how they are split."""

    data: str = option("postcards", "`postcards`, `udacity50` or a folder of class folders")
    not_landmarks: str = option(
        "", "folder of photos that show no landmark; empty: `not_landmarks/` in or beside the data"
    )
    places: str = option("", "CSV of places laid over the built-in gazetteer; empty: `places.csv`")
    val_fraction: float = option(0.15, "share of training photos held out to choose by")
    test_fraction: float = option(0.15, "share held out to report, when the data has no `test/`")
    max_unreadable: float = option(0.05, "share of unreadable photos that fails the run")
    cache_dir: str = option(".cache", "folder of drawn and downloaded data and cached features")
    udacity50_url: str = option(UDACITY50_URL, "where `data=udacity50` is downloaded from")
    seed: int = option(0, "seed of the split, the initial weights and the augmentation")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """Everything that decides a training run: the recipes differ by these values alone."""

    recipe: str = option("transfer", "name of the recipe, shown and searched in MLflow")
    backbone: str = option("tf_efficientnet_lite0", "timm model name, or `landmark_cnn`")
    weights: str = option(
        "pretrained", "`pretrained`, `random`, or a local .pth/.safetensors file of the backbone"
    )
    resolution: int = option(0, "side of the square the network sees; 0: the backbone's", unit="px")
    framing: str = option(
        "squash", "whole photo squashed to the square, or its centre", choices=("squash", "crop")
    )
    drop_rate: float = option(0.5, "dropout before the classifier")

    epochs: int = option(20, "epochs of the head on cached features; 0: skip this phase")
    refit: bool = option(
        True, "train a frozen backbone's head again on train and validation photos once calibrated"
    )
    views: int = option(1, "augmented views of each photo whose features are cached")
    batch_size: int = option(256, "photos per step of the head phase")
    learning_rate: float = option(2e-3, "peak learning rate of the head phase")
    weight_decay: float = option(0.05, "decoupled weight decay (AdamW)")
    label_smoothing: float = option(0.1, "share of the target spread over all classes")

    finetune_epochs: int = option(0, "epochs of the whole network on pixels; 0: stays frozen")
    finetune_batch_size: int = option(32, "photos per step of the fine-tuning phase")
    finetune_learning_rate: float = option(5e-4, "peak learning rate of the fine-tuning phase")
    layer_decay: float = option(0.8, "factor on the learning rate per group towards the input")
    optimizer: str = option(
        "adamw", "optimiser of the fine-tuning phase", choices=("adamw", "muon")
    )
    start_resolution: int = option(
        0, "side of the training crops at first, growing to `resolution`; 0: constant", unit="px"
    )
    min_crop: float = option(0.35, "smallest share of the photo a training crop may cover")
    color_jitter: float = option(0.3, "strength of brightness, contrast and saturation jitter")
    erasing: float = option(0.0, "probability of erasing a rectangle")
    mixup: float = option(0.0, "alpha of mixup; 0: off")
    cutmix: float = option(0.0, "alpha of CutMix; 0: off")
    mix_probability: float = option(1.0, "share of the batches that mixup or CutMix changes")
    ema_decay: float = option(0.0, "decay of the averaged weights per step; 0: off")
    warmup_epochs: float = option(1.0, "epochs of linear warm-up before the cosine", unit="epochs")
    clip_grad: float = option(1.0, "largest norm of the gradient")
    patience: int = option(0, "epochs without a better val/loss before stopping; 0: never stop")

    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda", "mps"))
    threads: int = option(0, "CPU threads; 0: all cores")
    resume: str = option(
        "", "id of an interrupted run to go on with, or `auto`: the last one of these parameters"
    )
    register: str = option("landmarks", "registered model that gets the version; empty: none")

    def __post_init__(self) -> None:
        _check_ranges(self)
        if not self.epochs and not self.finetune_epochs:
            raise ValueError(
                "epochs and finetune_epochs are both 0, so nothing would be trained; raise one"
            )
        if self.start_resolution % 32 or (
            self.resolution and self.start_resolution > self.resolution
        ):
            raise ValueError(
                f"start_resolution is {self.start_resolution}; give a multiple of 32 that is at"
                f" most resolution {self.resolution}, or 0"
            )
        if self.weights == "random" and not self.finetune_epochs:
            raise ValueError(
                "weights 'random' with finetune_epochs 0 would train a head on noise;"
                " give finetune_epochs, or weights 'pretrained'"
            )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Configuration):
    """Which runs to set side by side."""

    experiment: str = option(
        "", "MLflow experiment whose runs are compared; empty: the one this runs in"
    )
    filter: str = option("", "MLflow search string the runs meet; empty: all that were tested")
    most: int = option(20, "runs to compare, the newest first", unit="runs")
    seed: int = option(0, "seed of the bootstrap")


def canonical(value: object) -> str:
    """One spelling for a value in MLflow and on command lines: `0.001`, `True`, `postcards`."""
    return str(value)


def to_params(config: Configuration) -> dict[str, str]:
    """Parameters of a run as MLflow records them."""
    return {name: canonical(value) for name, value in asdict(config).items()}


def to_json(config: Configuration) -> str:
    """Whole configuration as JSON, logged beside the parameters."""
    return json.dumps(asdict(config), indent=2, sort_keys=True)


def default_of(config_class: type[Configuration], name: str) -> Any:
    """Default value of one field."""
    found = next(item for item in fields(config_class) if item.name == name)
    if found.default is MISSING:
        raise ValueError(f"{config_class.__name__}.{name} has no default")
    return found.default


def _check_ranges(config: Configuration) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{item.name} is {value}; give a finite number")
        choices = item.metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"{item.name} is {value!r}; choose one of {', '.join(choices)}")
        expected = _expected_range(item.name, value)
        if expected:
            raise ValueError(f"{item.name} is {value}; give a number {expected}")


def _expected_range(name: str, value: Any) -> str:
    if name in _UNIT_INTERVAL and not 0 <= value <= 1:
        return "from 0 to 1"
    if name in _OPEN_SHARES and not 0 < value < 1:
        return "above 0 and below 1"
    if name in _NOT_NEGATIVE and value < 0:
        return "of 0 or more"
    if name in _POSITIVE and value <= 0:
        return "above 0"
    return ""
