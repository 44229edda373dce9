"""Log the exported artifact as an MLflow model, register it, and name the champion."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import mlflow.pyfunc
import pandas as pd

from landmark_ml.inference.artifact import ARTIFACT, INPUT_COLUMN
from landmark_ml.inference.photos import decode_photo
from landmark_ml.registry.champion import AliasHistory, ConflictError
from landmark_ml.registry.signature import signature, spark_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.models.model import ModelInfo

    from landmark_ml.evaluation.predictions import ServedModel
    from landmark_ml.registry.history import Entry

logger = logging.getLogger(__name__)

_LIBRARY = Path(__file__).resolve().parents[1]
_SERVED_CODE = _LIBRARY / "inference"
# mlflow-skinny is MLflow with its scoring server and without all that trains, plots and stores.
_SERVED_REQUIREMENTS = ("mlflow-skinny", "numpy", "openvino", "pandas", "pillow")
_EXAMPLE_SIDE = 224
SPARK_SCHEMA = "spark_schema"
"""Name in a model's metadata of its answer's columns, as Spark reads them from JSON."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model and whether it is now the champion, and why."""

    name: str
    version: int
    is_champion: bool
    reason: str


def served_requirements() -> list[str]:
    """Pinned packages of the served model: those that made and judged it, nothing that trains."""
    return [f"{name}=={version(name)}" for name in _SERVED_REQUIREMENTS]


def log_model(artifact: Path, example: bytes, params: Mapping[str, str]) -> ModelInfo:
    """Log an artifact folder to the active run as models-from-code; no pickle goes into it.

    example: bytes of a photo; a small copy of it, without its EXIF, becomes the input example.
    """
    with tempfile.TemporaryDirectory() as scratch:
        code = _stage_code(Path(scratch))
        logged: ModelInfo = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_SERVED_CODE / "mlflow_model.py"),
            artifacts={ARTIFACT: str(artifact)},
            code_paths=[str(code)],
            signature=signature(),
            input_example=pd.DataFrame({INPUT_COLUMN: [_shrink(example)]}),
            pip_requirements=served_requirements(),
            params=dict(params),
            # Named here so that whoever loads the model may set it.
            model_config={"threads": 0},
            metadata={SPARK_SCHEMA: spark_schema()},
        )
    return logged


def load_served(model_uri: str, threads: int = 0) -> ServedModel:
    """The logged model as `mlflow models serve` loads it; threads: cores to keep busy, 0: all."""
    loaded: ServedModel = mlflow.pyfunc.load_model(model_uri, model_config={"threads": threads})
    return loaded


def register(model: ModelInfo, name: str, tags: Mapping[str, str], card: str) -> Registered:
    """Add a version of `name`: the champion where there is none, else the challenger.

    Training does not dethrone a champion: that takes a promotion, with evidence and a receipt.
    """
    version, history = _add(model, name, tags, card), AliasHistory(name)
    head = _settle(history)
    if not head.champion:
        reason = "there was no champion" if head.number else "the first version"
        # Another run may have registered the first champion in this very moment.
        with contextlib.suppress(ConflictError):
            history.move("register", version, head, "", model.run_id or "")
            return Registered(name, version, is_champion=True, reason=reason)
        head, _ = history.reconcile()
    if head.champion == version:
        return Registered(name, version, is_champion=True, reason="it was registered before")
    history.set_challenger(version)
    return Registered(name, version, is_champion=False, reason=_beside(name, head.champion, tags))


def register_challenger(
    model: ModelInfo, name: str, tags: Mapping[str, str], card: str
) -> Registered:
    """Add a version of `name` as the challenger, even where there is no champion."""
    version, history = _add(model, name, tags, card), AliasHistory(name)
    if _settle(history).champion == version:
        return Registered(name, version, is_champion=True, reason="it was promoted meanwhile")
    history.set_challenger(version)
    return Registered(name, version, is_champion=False, reason="it is the challenger")


def version_of_run(name: str, run_id: str) -> int:
    """Number of the newest version of `name` that a run made, 0 for none."""
    found = mlflow.search_model_versions(
        filter_string=f"name = '{name}' and run_id = '{run_id}'",
        order_by=["version_number DESC"],
        max_results=1,
    )
    return int(found[0].version) if found else 0


def _add(model: ModelInfo, name: str, tags: Mapping[str, str], card: str) -> int:
    # A run that was cut off after this, and goes on, has its version already, perhaps no card.
    number = version_of_run(name, model.run_id) if model.run_id else 0
    if not number:
        created = mlflow.register_model(f"models:/{model.model_id}", name, tags=dict(tags))
        number = int(created.version)
    client = mlflow.MlflowClient()
    if not client.get_model_version(name, str(number)).description:
        client.update_model_version(name, str(number), description=card)
    return number


def _settle(history: AliasHistory) -> Entry:
    """The last move; what was left half-way is finished, and told."""
    head, repaired = history.reconcile()
    for note in repaired:
        logger.warning(note)
    return head


def _beside(name: str, champion: int, tags: Mapping[str, str]) -> str:
    """How a challenger did beside the champion, as far as both say so themselves."""
    known = mlflow.MlflowClient().get_model_version(name, str(champion)).tags
    if known.get("test_digest") != tags["test_digest"]:
        return f"the champion, version {champion}, was measured on other test photos"
    return f"top-1 {tags['top1']} against {known.get('top1')} of the champion, version {champion}"


def _shrink(photo: bytes) -> bytes:
    """Copy of a photo as a JPEG of a few KB; without EXIF it tells nothing of who took it where."""
    image = decode_photo(photo, min_side=_EXAMPLE_SIDE)
    image.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", icc_profile=None)
    return jpeg.getvalue()


def _stage_code(scratch: Path) -> Path:
    """Copy of the one room that the served model imports, nothing else of the project."""
    package = scratch / _LIBRARY.name
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_SERVED_CODE, package / _SERVED_CODE.name, ignore=ignored)
    shutil.copy(_LIBRARY / "__init__.py", package)
    return package
