"""The versions that are judged, newest or named, and what judging one of them finds."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import mlflow.artifacts
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo, label_name
from landmark_ml.data.near_duplicates import Learned
from landmark_ml.evaluation.judge import (
    JudgeOptions,
    Predictions,
    Report,
    ServedModel,
    judge,
    match_names,
    predict,
)
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.tracking.errors import find
from landmark_ml.tracking.read_runs import fetch_manifest

logger = logging.getLogger(__name__)

TAUGHT_FOUND = "taught_found"
"""Tag of a taught version: how many of the photos that it was taught by are found by the others."""
_MOST_LISTED = 20
_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))


def find_candidates(
    name: str, wanted: str, champion: int, rolled_back: frozenset[int] = frozenset()
) -> list[ModelVersion]:
    """Versions of a registered model to judge against its champion, the newest first.

    wanted: `newest`, `newest:N`, a version number or a `models:/…` URI. `newest` must be newer than
    the champion: older versions have been judged or passed over before. rolled_back: versions that
    are judged again only when they are named. Raises ValueError when wanted is none of those, or
    there is no such version beside the champion.
    """
    kind, _, value = wanted.partition(":")
    others = rolled_back | {champion}
    if wanted == "newest":
        found = [one for one in _newest(name, 1, others) if int(one.version) > champion]
    elif kind == "newest" and re.fullmatch(r"[1-9]\d*", value):
        found = _newest(name, int(value), others)
    else:
        named = _named(name, wanted)
        found = [named] if named and int(named.version) != champion else []
    if found:
        return found
    listed = _newest(name, _MOST_LISTED + 1, frozenset())
    numbers = [version.version for version in listed[:_MOST_LISTED]]
    if len(listed) > _MOST_LISTED:
        numbers.append("older ones")
    back = ", ".join(map(str, sorted(rolled_back)))
    what = "newer version than" if wanted == "newest" else "such version beside"
    raise ValueError(
        f"candidates={wanted}: {name} has no {what} the champion, version {champion or 'none'};"
        f" there are: {', '.join(map(str, numbers[::-1])) or 'none'}"
        + (f" (rolled back, so judged only when named: {back})" if back else "")
        + "; train another, or name one with candidates=<version>"
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """A version with the report on its answers to the test photos that it has not learned.

    Photos of landmarks that it does not know are `unseen` of the report's predictions. report: None
    when it could not be judged (`problem` says why) or no photo is left. megabytes: 10^6 bytes of
    the logged model. pickles: files in it that look like pickles. learned: test photos left out
    because it was trained on or chosen by them or near-duplicates of them, None when its run does
    not say. taught_found: what the tag `TAUGHT_FOUND` says, empty for a trained version. corrected:
    of photos that people corrected and it has not learned, in whichever split, what they show and
    what it tags them with; empty: no landmark.
    """

    version: int
    run_id: str
    report: Report | None
    megabytes: float = 0.0
    pickles: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    learned: int | None = None
    problem: str = ""
    taught_found: str = ""
    corrected: Mapping[Photo, tuple[str, str]] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the report; empty without one."""
        return self.report.metrics if self.report else {}

    @property
    def predictions(self) -> Predictions | None:
        """Answers of the report; None without one."""
        return self.report.predictions if self.report else None


def judge_version(
    version: ModelVersion,
    dataset: Dataset,
    gazetteer: Gazetteer,
    threads: int = 0,
    corrected: Collection[str] = (),
) -> Judged:
    """Load a version without pickle and judge it on the test photos that it has not learned.

    threads: cores that it keeps busy; 0: all. corrected: sha256 of the photos that people decided
    on. One that cannot be fetched or loaded, or that answers in another form than ours, comes back
    with its problem, so that the others are still judged.
    """
    report, problem, run_id = None, "", version.run_id or ""
    answers: dict[Photo, tuple[str, str]] = {}
    contents: tuple[float, tuple[str, ...], tuple[str, ...]] = (0.0, (), ())
    with tempfile.TemporaryDirectory(prefix="judged-") as folder:
        scratch = Path(folder)
        known, photos = Learned.of(fetch_manifest(run_id, scratch)), dataset.test
        people = [photo for photo in dataset.photos if known and photo.sha256 in corrected]
        if known:
            photos, people = known.leave_out(photos), list(known.leave_out(people))
        uri = f"models:/{version.name}/{version.version}"
        try:
            logged = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
            contents = _look_into(logged)
            if any(photo.label != NOT_A_LANDMARK for photo in photos):
                options = JudgeOptions(unseen_apart=True)
                with open_served(logged, scratch, threads, allow_pickle=False) as model:
                    report = judge(model, photos, dataset.classes, gazetteer, options)
                    if people:
                        answers = _tag(model, people, photos, dataset.classes, gazetteer)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            problem = f"it answers in another form than a landmark model ({error!r})"
        except (MlflowException, OSError, ValueError) as error:
            problem = str(error) or repr(error)
        if problem:
            logger.warning("version %s cannot be judged: %s", version.version, problem)
    return Judged(
        int(version.version),
        run_id,
        report,
        *contents,
        learned=len(dataset.test) - len(photos) if known else None,
        problem=problem,
        taught_found=version.tags.get(TAUGHT_FOUND, ""),
        corrected=answers,
    )


def _tag(
    model: ServedModel,
    people: Sequence[Photo],
    test: Sequence[Photo],
    classes: Sequence[str],
    gazetteer: Gazetteer,
) -> dict[Photo, tuple[str, str]]:
    """What photos show and what a model tags them with; test: some of landmarks that it knows."""
    # Whatever it says of a landmark that it does not know is wrong.
    known, unknown, labels, names = match_names(model, [*test, *people], classes, gazetteer)
    originals = {photo.sha256: photo for photo in people}
    asked = [photo for photo in (*known, *unknown) if photo.sha256 in originals]
    found = predict(model, asked, labels, names, gazetteer)
    said = np.where(found.accepted, np.array(labels)[found.best], "").tolist()
    photos = [originals[photo.sha256] for photo in asked]
    shown = [label_name(photo.label, classes) for photo in photos]
    return dict(zip(photos, zip(shown, said, strict=True), strict=True))


def _look_into(folder: Path) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Megabytes, files that look like pickles, and requirements of a logged model."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    listed = folder / "requirements.txt"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return (
        sum(path.stat().st_size for path in files) / 1e6,
        tuple(str(path.relative_to(folder)) for path in files if _is_pickle(path)),
        tuple(line.strip() for line in lines if line.strip() and not line.startswith("#")),
    )


def _is_pickle(path: Path) -> bool:
    if path.suffix in _PICKLES:
        return True
    # It begins with the length of its header, which may be any two bytes, and holds numbers alone.
    if path.suffix == ".safetensors":
        return False
    with path.open("rb") as file:
        return file.read(2) in _PICKLE_STARTS


def _newest(name: str, most: int, others: frozenset[int]) -> list[ModelVersion]:
    found = mlflow.search_model_versions(
        filter_string=f"name = '{name}'",
        order_by=["version_number DESC"],
        # The excluded versions may be among the newest.
        max_results=most + len(others),
    )
    return [version for version in found if int(version.version) not in others][:most]


def _named(name: str, wanted: str) -> ModelVersion | None:
    """The version that a number or URI names; None when no version has that number."""
    own = f"models:/{re.escape(name)}"
    match = re.fullmatch(rf"(?:{own}/)?(?P<number>\d+)|{own}@(?P<alias>[^/@]+)", wanted)
    if match is None:
        raise ValueError(
            f"candidates={wanted}: give newest, newest:3, a version number, or a URI such as"
            f" models:/{name}/7 or models:/{name}@challenger"
        )
    client, alias = mlflow.MlflowClient(), match["alias"]
    if not alias:
        return find(lambda: client.get_model_version(name, str(int(match["number"]))))
    version = find(lambda: client.get_model_version_by_alias(name, alias))
    if version is None:
        raise ValueError(f"candidates={wanted}: {name} has no alias {alias!r}")
    return version
