"""What a search may change, and within which limits."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from optuna.trial import FixedTrial

from landmark_ml.networks.create import native_resolution

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from landmark_ml.config import TrainConfig, TuneConfig

# A frozen backbone often sees more at a larger size than it was trained at (Touvron et al.,
# Fixing the train-test resolution discrepancy, NeurIPS 2019).
SCALES = (1.0, 1.25)
# Stages that learn, counted from the output; 0 is all of them.
UNFREEZE = (0, 2, 4)
_STEP = 32


def suggest_config(trial: BaseTrial, base: TuneConfig) -> TrainConfig:
    """Training configuration of a trial; what the space does not name stays as in `base`."""
    values = _network(trial, base) | _head(trial, base)
    if base.space == "finetune":
        values |= _finetune(trial, base)
    # A trial is judged on its validation photos, so it must never train on them.
    return replace(base.training(), **values, refit=False, resume="", register="")


def starting_params(base: TuneConfig) -> dict[str, Any]:
    """Parameters of the configuration that the search starts from: its first trial."""
    own = asdict(base) | {"resolution_scale": 1.0, "mix": _mix_of(base)}
    trial = FixedTrial(own)
    suggest_config(trial, base)
    return dict(trial.params)


def kept_params(base: TuneConfig) -> dict[str, Any]:
    """Parameters that every trial shares with the configuration the search starts from.

    Raises ValueError for a name that the space does not ask for.
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


def _network(trial: BaseTrial, base: TuneConfig) -> dict[str, Any]:
    backbone = trial.suggest_categorical("backbone", searched_backbones(base))
    scale = trial.suggest_categorical("resolution_scale", SCALES)
    side = base.resolution
    if scale != 1.0:
        side = round((side or native_resolution(backbone)) * scale / _STEP) * _STEP
    return {
        "backbone": backbone,
        "resolution": side,
        "framing": trial.suggest_categorical("framing", ("squash", "crop")),
    }


def _head(trial: BaseTrial, base: TuneConfig) -> dict[str, Any]:
    shared = {
        "drop_rate": _between(trial, "drop_rate", 0.0, 0.8, base.drop_rate),
        "weight_decay": _log(trial, "weight_decay", 1e-2, 30.0, base.weight_decay),
        "label_smoothing": _between(trial, "label_smoothing", 0.0, 0.3, base.label_smoothing),
    }
    if base.space == "finetune":
        return shared
    return shared | {
        "learning_rate": _log(trial, "learning_rate", 2e-4, 2e-2, base.learning_rate),
        "epochs": trial.suggest_int("epochs", min(10, base.epochs), max(60, base.epochs), log=True),
        "batch_size": trial.suggest_categorical(
            "batch_size", tuple(sorted({128, 256, 512, base.batch_size}))
        ),
        "views": trial.suggest_int("views", 1, max(2, base.views)),
    }


def _finetune(trial: BaseTrial, base: TuneConfig) -> dict[str, Any]:
    rate = base.finetune_learning_rate
    decay = base.finetune_weight_decay
    return {
        "finetune_learning_rate": _log(trial, "finetune_learning_rate", 5e-5, 1e-2, rate),
        "finetune_weight_decay": _log(trial, "finetune_weight_decay", 1e-3, 1.0, decay),
        "unfreeze": trial.suggest_categorical(
            "unfreeze", tuple(sorted({*UNFREEZE, base.unfreeze}))
        ),
        "layer_decay": _between(trial, "layer_decay", 0.5, 1.0, base.layer_decay),
        "optimizer": trial.suggest_categorical("optimizer", ("adamw", "muon")),
        "min_crop": _between(trial, "min_crop", 0.1, 0.9, base.min_crop),
        "color_jitter": _between(trial, "color_jitter", 0.0, 0.6, base.color_jitter),
        "erasing": _between(trial, "erasing", 0.0, 0.5, base.erasing),
        **_mix(trial, base),
    }


def _mix(trial: BaseTrial, base: TuneConfig) -> dict[str, float]:
    """Mixing of photos; the strengths are asked for only where the kind uses them."""
    kind = trial.suggest_categorical("mix", ("none", "mixup", "cutmix", "both"))
    mixup = cutmix = 0.0
    if kind in ("mixup", "both"):
        mixup = _between(trial, "mixup", 0.05, 1.0, base.mixup)
    if kind in ("cutmix", "both"):
        cutmix = _between(trial, "cutmix", 0.1, 2.0, base.cutmix)
    if kind == "none":
        return {"mixup": mixup, "cutmix": cutmix}
    share = _between(trial, "mix_probability", 0.1, 1.0, base.mix_probability)
    return {"mixup": mixup, "cutmix": cutmix, "mix_probability": share}


def _mix_of(base: TuneConfig) -> str:
    kinds = {(False, False): "none", (True, False): "mixup", (False, True): "cutmix"}
    return kinds.get((base.mixup > 0, base.cutmix > 0), "both")


def searched_backbones(base: TuneConfig) -> tuple[str, ...]:
    """Names of the backbones to choose from, the one of the configuration first."""
    if base.weights != "pretrained":
        # A file of weights, or our own network, fits one backbone.
        return (base.backbone,)
    named = [name.strip() for name in base.backbones.split(",") if name.strip()]
    return tuple(dict.fromkeys([base.backbone, *named]))


def _between(trial: BaseTrial, name: str, low: float, high: float, start: float) -> float:
    """Number of a range that is widened to the value the search starts from."""
    return _rounded(trial.suggest_float(name, min(low, start), max(high, start)))


def _log(trial: BaseTrial, name: str, low: float, high: float, start: float) -> float:
    """Positive number of a range on a logarithmic scale."""
    if start <= 0:
        raise ValueError(
            f"{name} is {start}, and it is searched in powers, which never come to 0; give a"
            f" number above 0, such as {low}"
        )
    low = min(low, start)
    return _rounded(trial.suggest_float(name, low, max(high, start), log=True))


def _rounded(value: float) -> float:
    """Three digits: all that a person wants to read or type again."""
    return round(value, 2 - math.floor(math.log10(abs(value)))) if value else value
