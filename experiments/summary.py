"""What a person reads in the terminal when a run is done."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from experiments import launch
from landmark_ml.training.distributed import train_together

if TYPE_CHECKING:
    from landmark_ml.config import TrainConfig
    from landmark_ml.registry.register import Registered
    from landmark_ml.training.run import TrainResult


def train_and_print(config: TrainConfig) -> None:
    """Train, in as many processes as asked for; the first says what came of it."""
    launch.share_among(config.processes)
    result = train_together(config)
    if result is not None:
        print_result(result)


def print_result(result: TrainResult) -> None:
    """Test metrics with intervals, where the run is, and what to do next."""
    print(f"\ntest top-1  {interval(result.metrics, 'top1')}")
    print(f"test top-3  {interval(result.metrics, 'top3')}")
    print(f"time        {result.seconds:.0f} s")
    print(f"run         {result.location}")
    if result.registered is not None:
        version = result.registered
        state = "is now the champion" if version.is_champion else "is now the challenger"
        print(f"registered  {version.name} version {version.version} {state}: {version.reason}")
    print("\nnext:")
    if result.registered is not None and not result.registered.is_champion:
        print(f"  {_promote(result.registered)}")
    print("  make ui                      see the run, its figures and the model in MLflow")
    print(f"  {_serve(result)}")
    print("  make query PHOTO=photo.jpg   ask it about a photo")
    print('  make transfer PARAMS="-P data=<folder>" MODEL=photos   use your own photos')


def _serve(result: TrainResult) -> str:
    version = result.registered
    if version is None or not version.is_champion:
        return f"make serve MODEL_URI={result.model_uri}   serve this model on 127.0.0.1"
    return f"make serve{_model(version):<18} serve the champion on 127.0.0.1"


def _promote(version: Registered) -> str:
    values = f"-P candidates={version.version} -P data=<the same>"
    return f'make promote{_model(version)} PARAMS="{values}"   judge it against the champion'


def _model(version: Registered) -> str:
    """What tells make of a registered model that is not its own default."""
    return "" if version.name == "landmarks" else f" MODEL={shlex.quote(version.name)}"


def interval(metrics: dict[str, float], name: str) -> str:
    """A share of the test photos with its 95% interval."""
    low, high = metrics[f"test/{name}_low"], metrics[f"test/{name}_high"]
    photos = metrics["test/photos"]
    return f"{metrics[f'test/{name}']:.3f}  (95% {low:.3f} to {high:.3f}, {photos:.0f} photos)"
