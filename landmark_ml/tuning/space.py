"""The search space: which parameters a search may change, and within which limits."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import BaseTrial, FixedTrial

from landmark_ml.config import TrainConfig, TuneConfig
from landmark_ml.networks.create import create_preprocessing

# A frozen backbone often works better above its training resolution (Touvron et al., Fixing the
# train-test resolution discrepancy, NeurIPS 2019).
SCALES = (1.0, 1.25)
# Stages to fine-tune, counted from the output; 0: all.
UNFREEZE = (0, 2, 4)
_STEP = 32


def suggest_config(trial: BaseTrial, base: TuneConfig) -> TrainConfig:
    """Training configuration of a trial; parameters outside the space stay as in `base`.

    Raises ValueError when a parameter searched on a logarithmic scale starts at 0.
    """

    def number(name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw from a range that includes the starting value; three digits are easy to retype."""
        start = getattr(base, name)
        if log and start <= 0:
            raise ValueError(
                f"{name} is {start}, and it is searched on a logarithmic scale, which never"
                f" reaches 0; give a number above 0, such as {low}"
            )
        value = trial.suggest_float(name, min(low, start), max(high, start), log=log)
        return round(value, 2 - math.floor(math.log10(abs(value)))) if value else value

    backbone = trial.suggest_categorical("backbone", searched_backbones(base))
    scale = trial.suggest_categorical("resolution_scale", SCALES)
    resolution = base.resolution
    if scale != 1.0:
        native = create_preprocessing(replace(base, backbone=backbone)).resolution
        resolution = round(native * scale / _STEP) * _STEP
    values: dict[str, Any] = {
        "backbone": backbone,
        "resolution": resolution,
        "framing": trial.suggest_categorical("framing", ("squash", "crop")),
        "drop_rate": number("drop_rate", 0.0, 0.8),
        "weight_decay": number("weight_decay", 1e-2, 30.0, log=True),
        "label_smoothing": number("label_smoothing", 0.0, 0.3),
    }
    if base.space == "finetune":
        unfreeze = tuple(sorted({*UNFREEZE, base.unfreeze}))
        values |= {
            "finetune_learning_rate": number("finetune_learning_rate", 5e-5, 1e-2, log=True),
            "finetune_weight_decay": number("finetune_weight_decay", 1e-3, 1.0, log=True),
            "unfreeze": trial.suggest_categorical("unfreeze", unfreeze),
            "layer_decay": number("layer_decay", 0.5, 1.0),
            "optimizer": trial.suggest_categorical("optimizer", ("adamw", "muon")),
            "min_crop": number("min_crop", 0.1, 0.9),
            "color_jitter": number("color_jitter", 0.0, 0.6),
            "erasing": number("erasing", 0.0, 0.5),
        }
        # A strength is searched only where it is used.
        mix = trial.suggest_categorical("mix", ("none", "mixup", "cutmix", "both"))
        values["mixup"] = number("mixup", 0.05, 1.0) if mix in ("mixup", "both") else 0.0
        values["cutmix"] = number("cutmix", 0.1, 2.0) if mix in ("cutmix", "both") else 0.0
        if mix != "none":
            values["mix_probability"] = number("mix_probability", 0.1, 1.0)
    else:
        fewest, most = min(10, base.epochs), max(60, base.epochs)
        sizes = tuple(sorted({128, 256, 512, base.batch_size}))
        values |= {
            "learning_rate": number("learning_rate", 2e-4, 2e-2, log=True),
            "epochs": trial.suggest_int("epochs", fewest, most, log=True),
            "batch_size": trial.suggest_categorical("batch_size", sizes),
        }
    # A trial is judged on its validation photos, so it must never train on them.
    return replace(base.training(), **values, refit=False, resume="", model="")


def starting_params(base: TuneConfig) -> dict[str, Any]:
    """Parameters of the first trial: the configuration that the search starts from."""
    mixes = {(False, False): "none", (True, False): "mixup", (False, True): "cutmix"}
    mix = mixes.get((base.mixup > 0, base.cutmix > 0), "both")
    trial = FixedTrial(asdict(base) | {"resolution_scale": 1.0, "mix": mix})
    suggest_config(trial, base)
    return dict(trial.params)


def kept_params(base: TuneConfig) -> dict[str, Any]:
    """Parameters that `keep` holds at their starting values in every trial.

    Raises ValueError for a name that is not in the space.
    """
    names = [name.strip() for name in base.keep.split(",") if name.strip()]
    start = starting_params(base)
    unknown = [name for name in names if name not in start]
    if unknown:
        raise ValueError(
            f"keep names {', '.join(unknown)}, which the space {base.space!r} does not search;"
            f" it searches {', '.join(start)}"
        )
    return {name: start[name] for name in names}


def searched_backbones(base: TuneConfig) -> tuple[str, ...]:
    """Names of the backbones to choose from, the one of the configuration first."""
    if base.weights != "pretrained":
        # A file of weights, or our own network, fits one backbone.
        return (base.backbone,)
    named = [name.strip() for name in base.backbones.split(",") if name.strip()]
    return tuple(dict.fromkeys([base.backbone, *named]))
