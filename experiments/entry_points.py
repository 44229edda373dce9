"""The entry points: one table for the command line, make, `MLproject` and docs/parameters.md."""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.recipes import RECIPES
from landmark_ml import config


@dataclass(frozen=True)
class EntryPoint:
    """What a command starts: `main` of its module in `experiments`, which takes the configuration.

    common: fields that people set, the first also without its name. MLflow's UI shows these; it
    hands on every other one as well.
    """

    about: str
    defaults: config.Configuration
    common: tuple[str, ...]


_TRAINED = ("not_landmarks", "places", "seed", "device", "resume", "model")


def _training(recipe: Callable[[], config.TrainConfig]) -> EntryPoint:
    defaults = recipe()
    epochs = "finetune_epochs" if defaults.finetune_epochs else "epochs"
    return EntryPoint(recipe.__doc__ or "", defaults, ("data", epochs, *_TRAINED))


ENTRY_POINTS = {
    **{name: _training(recipe) for name, recipe in RECIPES.items()},
    "data": EntryPoint(
        "Look at a dataset and learn what is wrong with it before training.",
        config.DataConfig(),
        ("data", "not_landmarks", "places"),
    ),
    "tune": EntryPoint(
        "Search for a better training configuration.",
        config.TuneConfig(),
        ("data", "space", "trials", "minutes", "study", "storage", "model"),
    ),
    "compare": EntryPoint(
        "Set the finished runs of an experiment side by side.",
        config.CompareConfig(),
        ("experiment", "filter", "most"),
    ),
    "evaluate": EntryPoint(
        "Judge a registered model on photos it was not trained on.",
        config.EvaluateConfig(),
        ("model", "data", "photos"),
    ),
    "teach": EntryPoint(
        "Teach a registered model landmarks by a few photos each, without training.",
        config.TeachConfig(),
        ("photos", "name", "position", "model"),
    ),
    "promote": EntryPoint(
        "Judge challengers against the champion; the best that passes takes over.",
        config.PromoteConfig(),
        ("model", "candidates", "data", "reason"),
    ),
    "rollback": EntryPoint(
        "Make the champion before champion again.", config.RollbackConfig(), ("model", "reason")
    ),
    "history": EntryPoint(
        "Who became champion when, by whom and why.", config.HistoryConfig(), ("model",)
    ),
    "serve": EntryPoint(
        "Serve a model with MLflow, until Ctrl-C.", config.ServeConfig(), ("model", "host", "port")
    ),
    "query": EntryPoint(
        "Ask the served model about a photo.", config.QueryConfig(), ("photo", "url", "top_k")
    ),
    "tag": EntryPoint(
        "Tag a photo library: a table, sidecars, albums and a gallery; or photos in Immich.",
        config.TagConfig(),
        ("photos", "immich", "out", "model", "sidecars", "albums", "gallery"),
    ),
    "untag": EntryPoint(
        "Take what the tagger wrote out of sidecars, or of Immich, again.",
        config.UntagConfig(),
        ("photos", "immich", "out", "dry_run"),
    ),
    "review": EntryPoint(
        "Look over what `tag` said, accept or correct it on a page, until Ctrl-C.",
        config.ReviewConfig(),
        ("out", "photos", "port"),
    ),
    "cluster": EntryPoint(
        "Tag photos with Ray, here or on a cluster.",
        config.ClusterConfig(),
        ("photos", "out", "model", "workers", "address"),
    ),
    "app": EntryPoint(
        "Open the web app, a page and an HTTP API, until Ctrl-C.",
        config.AppConfig(),
        ("model", "host", "port"),
    ),
    "ui": EntryPoint("Open the MLflow UI, until Ctrl-C.", config.UiConfig(), ("host", "port")),
}
