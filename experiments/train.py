"""`landmarks transfer`, `ensemble`, `finetune`, `distill` or `scratch`: train a model."""

import shlex

from experiments.cli import share_among
from landmark_ml.config import TrainConfig
from landmark_ml.inference.predictor import what_to_expect
from landmark_ml.training.run import TrainResult, train_together


def main(config: TrainConfig) -> None:
    """Train and register a model, and print the result."""
    share_among(config.processes)
    result = train_together(config)
    if result is not None:
        print_result(result)


def print_result(result: TrainResult) -> None:
    """Print test metrics with intervals, where the run is, and what to do next."""
    print(f"\ntest top-1  {interval(result.metrics, 'top1')}")
    print(f"test top-3  {interval(result.metrics, 'top3')}")
    print(f"to expect   {what_to_expect(result.expected)}")
    print(f"time        {result.seconds:.0f} s")
    print(f"run         {result.location}")
    serve = f"make serve model={result.model_uri}   serve this model on 127.0.0.1"
    promote = ""
    if (version := result.registered) is not None:
        state = "is now the champion" if version.is_champion else "is now the challenger"
        print(f"registered  {version.name} version {version.version} {state}: {version.reason}")
        model = "" if version.name == "landmarks" else f" model={shlex.quote(version.name)}"
        if version.is_champion:
            serve = f"make serve{model:<18} serve the champion on 127.0.0.1"
        else:
            values = f"candidates={version.version} data=<the same>"
            promote = f"make promote{model} {values}   judge it against the champion"
    print("\nnext:")
    if promote:
        print(f"  {promote}")
    print("  make ui                      see the run, its figures and the model in MLflow")
    print(f"  {serve}")
    print("  make query photo=photo.jpg   ask it about a photo")
    print("  make transfer data=<folder> model=photos   use your own photos")


def interval(metrics: dict[str, float], name: str) -> str:
    """Share of the test photos with its 95% interval."""
    low, high = metrics[f"test/{name}_low"], metrics[f"test/{name}_high"]
    photos = metrics["test/photos"]
    return f"{metrics[f'test/{name}']:.3f}  (95% {low:.3f} to {high:.3f}, {photos:.0f} photos)"
