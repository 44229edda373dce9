"""The entry points: one table for the command line, make, `MLproject` and docs/parameters.md."""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.recipes import RECIPES
from landmark_ml.config import (
    AppConfig,
    ClusterConfig,
    CompareConfig,
    Configuration,
    DataConfig,
    EvaluateConfig,
    HistoryConfig,
    PromoteConfig,
    QueryConfig,
    RollbackConfig,
    ServeConfig,
    TagConfig,
    TrainConfig,
    TuneConfig,
    UiConfig,
)


@dataclass(frozen=True)
class EntryPoint:
    """What a command starts: `main` of a module in `experiments`, which takes the configuration.

    common: fields that people set, the first also without its name. MLflow's UI shows these; it
    hands on every other one as well.
    """

    module: str
    about: str
    defaults: Configuration
    common: tuple[str, ...]


_TRAINED = ("not_landmarks", "places", "seed", "device", "resume", "model")


def _training(recipe: Callable[[], TrainConfig]) -> EntryPoint:
    config = recipe()
    epochs = "finetune_epochs" if config.finetune_epochs else "epochs"
    return EntryPoint("train", recipe.__doc__ or "", config, ("data", epochs, *_TRAINED))


ENTRY_POINTS = {
    **{name: _training(recipe) for name, recipe in RECIPES.items()},
    "data": EntryPoint(
        "data",
        "Look at a dataset and learn what is wrong with it before training.",
        DataConfig(),
        ("data", "not_landmarks", "places"),
    ),
    "tune": EntryPoint(
        "tune",
        "Search for a better training configuration.",
        TuneConfig(),
        ("data", "space", "trials", "minutes", "study", "storage", "model"),
    ),
    "compare": EntryPoint(
        "compare",
        "Set the finished runs of an experiment side by side.",
        CompareConfig(),
        ("experiment", "filter", "most"),
    ),
    "evaluate": EntryPoint(
        "evaluate",
        "Judge a registered model on photos it was not trained on.",
        EvaluateConfig(),
        ("model", "data", "photos"),
    ),
    "promote": EntryPoint(
        "promote",
        "Judge challengers against the champion; the best that passes takes over.",
        PromoteConfig(),
        ("model", "candidates", "data", "reason"),
    ),
    "rollback": EntryPoint(
        "rollback",
        "Make the champion before champion again.",
        RollbackConfig(),
        ("model", "reason"),
    ),
    "history": EntryPoint(
        "history", "Who became champion when, by whom and why.", HistoryConfig(), ("model",)
    ),
    "serve": EntryPoint(
        "serve",
        "Serve a model with MLflow, until Ctrl-C.",
        ServeConfig(),
        ("model", "host", "port"),
    ),
    "query": EntryPoint(
        "query", "Ask the served model about a photo.", QueryConfig(), ("photo", "url", "top_k")
    ),
    "tag": EntryPoint(
        "tag",
        "Tag a photo library: a table, sidecars, albums and a gallery.",
        TagConfig(),
        ("photos", "out", "model", "sidecars", "albums", "gallery"),
    ),
    "cluster": EntryPoint(
        "cluster",
        "Tag photos with Ray, here or on a cluster.",
        ClusterConfig(),
        ("photos", "out", "model", "workers", "address"),
    ),
    "app": EntryPoint(
        "app",
        "Open the web app, a page and an HTTP API, until Ctrl-C.",
        AppConfig(),
        ("model", "host", "port"),
    ),
    "ui": EntryPoint("ui", "Open the MLflow UI, until Ctrl-C.", UiConfig(), ("host", "port")),
}
