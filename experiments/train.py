"""`landmarks transfer`, `ensemble`, `finetune`, `distill` or `scratch`: train a model."""

import os
import shlex

from experiments.cli import share_among
from landmark_ml.config import DataConfig, TrainConfig, repeated
from landmark_ml.inference.predictor import what_to_expect
from landmark_ml.training.run import TrainResult, train_together


def main(config: TrainConfig) -> None:
    """Train and register a model, and print the result."""
    share_among(config.processes)
    result = train_together(config)
    if result is not None:
        print_result(config, result)


def print_result(config: TrainConfig, result: TrainResult) -> None:
    """Print test metrics with intervals, where the run is, and what to do next."""
    print(f"\ntest top-1  {interval(result.metrics, 'top1')}")
    print(f"test top-3  {interval(result.metrics, 'top3')}")
    print(f"to expect   {what_to_expect(result.expected)}")
    print(f"time        {result.seconds:.0f} s")
    print(f"run         {result.location}")
    version = result.registered
    name = result.model_uri if version is None else version.name
    model = "" if name == "landmarks" else f" model={shlex.quote(name)}"
    following = {"make ui": "open MLflow, where the address above shows the run"}
    if version is not None:
        state = "is now the champion" if version.is_champion else "is now the challenger"
        print(f"registered  {name} version {version.version} {state}: {version.reason}")
        if not version.is_champion:
            data = repeated(config, DataConfig())
            promote = f"make promote{model} candidates={version.version}{data}"
            following = {promote: "judge it against the champion"} | following
            model = f" model={result.model_uri}"
    photo = shlex.quote(os.path.relpath(result.example))
    following |= {
        f"make serve{model}": "serve it on 127.0.0.1",
        f"make query photo={photo}": "ask it, in another terminal",
    }
    if config.data == "postcards":
        following[f"make {config.recipe} data=<folder> model=photos"] = "learn your own photos"
    elif version is not None and version.is_champion:
        following[f"make tag photos=<folder>{model}"] = "tag a photo library"
    print("\nnext:")
    width = max(map(len, following))
    for command, what in following.items():
        print(f"  {command:<{width}}  {what}")


def interval(metrics: dict[str, float], name: str) -> str:
    """Share of the test photos with its 95% interval."""
    low, high = metrics[f"test/{name}_low"], metrics[f"test/{name}_high"]
    photos = metrics["test/photos"]
    return f"{metrics[f'test/{name}']:.3f}  (95% {low:.3f} to {high:.3f}, {photos:.0f} photos)"
