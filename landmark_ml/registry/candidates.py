"""Who is judged: the newest versions, the best of an experiment, or one that is named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from landmark_ml.tracking.errors import is_not_there

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_BEST_OF_EXPERIMENT = 3
_RUNS_AT_ONCE = 50
_MOST_LISTED = 20


def find_candidates(
    name: str, wanted: str, champion: int, rolled_back: frozenset[int] = frozenset()
) -> list[ModelVersion]:
    """Versions of a registered model that are judged against its champion, newest or best first.

    wanted: `newest`, `newest:N`, `experiment:NAME`, a version number or a `models:/…` URI; the
    newest alone has to be newer than the champion: older ones were judged or passed over, and their
    receipts stand. rolled_back: versions that are judged again only when they are named. Raises
    ValueError when wanted is none of those, or there is no such version beside the champion.
    """
    kind, _, value = wanted.partition(":")
    if wanted == "newest":
        found = _newer(name, champion, rolled_back)
    elif kind == "newest" and re.fullmatch(r"[1-9]\d*", value):
        found = _newest(name, int(value), rolled_back | {champion})
    elif kind == "experiment" and value:
        found = _best_of(value, name, rolled_back | {champion})
    else:
        found = _numbered(name, _number(name, wanted), champion)
    if not found:
        back = ", ".join(map(str, sorted(rolled_back)))
        named = f" (rolled back, so judged only when named: {back})" if back else ""
        raise ValueError(
            f"candidates={wanted}: {name} has no such version beside the champion, version"
            f" {champion or 'none'}; there are: {_listed(name)}{named}"
        )
    return found


def _newer(name: str, champion: int, rolled_back: frozenset[int]) -> list[ModelVersion]:
    """The newest version, where one came after the champion that was not rolled back."""
    found = _newest(name, 1, rolled_back | {champion})
    if not champion or (found and int(found[0].version) > champion):
        return found
    back = ", ".join(str(number) for number in sorted(rolled_back) if number > champion)
    why = (
        f"the versions newer than the champion, version {champion}, were rolled back: {back}"
        if back
        else f"the champion is the newest version ({champion})"
    )
    raise ValueError(
        f"candidates=newest: {why}; train another, or name one with candidates=<version>"
    )


def _newest(name: str, most: int, others: frozenset[int]) -> list[ModelVersion]:
    found = mlflow.search_model_versions(
        filter_string=f"name = '{name}'",
        order_by=["version_number DESC"],
        # So many more, because those left out may be among them.
        max_results=most + len(others),
    )
    return [version for version in found if int(version.version) not in others][:most]


def _numbered(name: str, number: int, champion: int) -> list[ModelVersion]:
    try:
        version = mlflow.MlflowClient().get_model_version(name, str(number))
    except MlflowException as error:
        if not is_not_there(error):
            raise
        return []
    return [] if number == champion else [version]


def _best_of(experiment: str, name: str, others: frozenset[int]) -> list[ModelVersion]:
    """Versions whose runs belong to an experiment, by their last top-1 on validation photos.

    Not by that on test photos, where all are judged: the luckiest of many would come with a head
    start there that no correction for the few who are judged takes off.
    """
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name(experiment)
    if known is None:
        raise ValueError(f"candidates=experiment:{experiment}: there is no such experiment")
    found: list[ModelVersion] = []
    token: str | None = None
    # From the best run on until enough of them have a version: most of an experiment is not read.
    while len(found) < _BEST_OF_EXPERIMENT:
        runs = client.search_runs(
            [known.experiment_id],
            "metrics.`val/top1` >= 0",
            order_by=["metrics.`val/top1` DESC"],
            max_results=_RUNS_AT_ONCE,
            page_token=token,
        )
        found += _versions_of([run.info.run_id for run in runs], name, others)
        token = runs.token
        if not token:
            break
    return found[:_BEST_OF_EXPERIMENT]


def _versions_of(run_ids: list[str], name: str, others: frozenset[int]) -> list[ModelVersion]:
    """Versions that runs made, in the order of the runs."""
    if not run_ids:
        return []
    listed = ", ".join(f"'{run_id}'" for run_id in run_ids)
    found = mlflow.search_model_versions(filter_string=f"name = '{name}' and run_id IN ({listed})")
    judged = [version for version in found if int(version.version) not in others]
    return sorted(judged, key=lambda version: run_ids.index(version.run_id or ""))


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
    except MlflowException as error:
        if not is_not_there(error):
            raise
        raise ValueError(f"candidates={wanted}: {name} has no alias {match['alias']!r}") from None


def _listed(name: str) -> str:
    """Numbers of the versions there are, of many those of the newest."""
    found = mlflow.search_model_versions(
        filter_string=f"name = '{name}'",
        order_by=["version_number DESC"],
        max_results=_MOST_LISTED + 1,
    )
    numbers = [str(version.version) for version in found[:_MOST_LISTED]]
    older = ["older ones"] if len(found) > _MOST_LISTED else []
    return ", ".join(older + numbers[::-1]) or "none"
