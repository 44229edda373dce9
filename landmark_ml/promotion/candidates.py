"""Who is judged: the newest versions, the best of an experiment, or one that is named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_BEST_OF_EXPERIMENT = 3


def find_candidates(name: str, wanted: str, champion: int) -> list[ModelVersion]:
    """Versions of a registered model that are judged against its champion, newest or best first.

    wanted: `newest`, `newest:N`, `experiment:NAME`, a version number or a `models:/…` URI. Raises
    ValueError when it is none of them, or there is no such version beside the champion.
    """
    everyone = mlflow.MlflowClient().search_model_versions(
        f"name = '{name}'", order_by=["version_number DESC"], max_results=10_000
    )
    others = [version for version in everyone if int(version.version) != champion]
    kind, _, value = wanted.partition(":")
    if kind == "newest" and (not value or re.fullmatch(r"[1-9]\d*", value)):
        found = others[: int(value or 1)]
    elif kind == "experiment" and value:
        found = _best_of(value, others)
    else:
        number = _number(name, wanted)
        found = [version for version in others if int(version.version) == number]
    if not found:
        raise ValueError(
            f"candidates={wanted}: {name} has no such version beside the champion, version"
            f" {champion or 'none'}; there are: {_listed(everyone)}"
        )
    return found


def _best_of(experiment: str, versions: list[ModelVersion]) -> list[ModelVersion]:
    """Versions whose runs belong to an experiment, by the top-1 that they report of themselves."""
    known = mlflow.MlflowClient().get_experiment_by_name(experiment)
    if known is None:
        raise ValueError(f"candidates=experiment:{experiment}: there is no such experiment")
    runs = mlflow.search_runs(
        experiment_ids=[known.experiment_id], output_format="list", max_results=5_000
    )
    top1 = {run.info.run_id: run.data.metrics.get("test/top1", 0.0) for run in runs}
    found = [version for version in versions if version.run_id in top1]
    return sorted(found, key=lambda version: -top1[version.run_id or ""])[:_BEST_OF_EXPERIMENT]


def _number(name: str, wanted: str) -> int:
    if wanted.isdecimal():
        return int(wanted)
    match = re.fullmatch(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>[^/@]+))", wanted)
    if match is None or match["name"] != name:
        raise ValueError(
            f"candidates={wanted}: give newest, newest:3, experiment:NAME, a version number, or a"
            f" URI such as models:/{name}/7 or models:/{name}@challenger"
        )
    if match["version"]:
        return int(match["version"])
    try:
        return int(mlflow.MlflowClient().get_model_version_by_alias(name, match["alias"]).version)
    except MlflowException:
        raise ValueError(f"candidates={wanted}: {name} has no alias {match['alias']!r}") from None


def _listed(versions: list[ModelVersion]) -> str:
    return ", ".join(str(version.version) for version in reversed(versions)) or "none"
