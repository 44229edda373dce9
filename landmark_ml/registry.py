"""Log the exported artifact as an MLflow model, register it, and name the champion."""

from __future__ import annotations

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
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

from landmark_ml.artifact_layout import ARTIFACT, INPUT_COLUMN
from landmark_ml.photos import decode_photo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

    from landmark_ml.evaluation import ServedModel

logger = logging.getLogger(__name__)

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"

_ROOT = Path(__file__).resolve().parents[1]
_MODEL_CODE = _ROOT / "serving" / "landmark_model.py"
_SERVED_CODE = (
    "landmark_ml/__init__.py",
    "landmark_ml/artifact_layout.py",
    "landmark_ml/graph.py",
    "landmark_ml/photos",
    "landmark_ml/preprocessing.py",
    "serving/__init__.py",
    "serving/areas.py",
    "serving/prediction.py",
    "serving/predictor.py",
)
# mlflow-skinny is MLflow with its scoring server and without all that trains, plots and stores.
_SERVED_REQUIREMENTS = ("mlflow-skinny", "numpy", "openvino", "pandas", "pillow")
_EXAMPLE_SIDE = 224


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


def signature(top_k: int = 5, threshold: float = -1.0) -> ModelSignature:
    """Columns in and out of the served model, and its parameters."""
    place = [
        Property("landmark", DataType.string),
        Property("confidence", DataType.double),
        *(Property(name, DataType.double, required=False) for name in ("latitude", "longitude")),
        *(Property(name, DataType.string, required=False) for name in ("city", "country")),
        Property("tags", Array(DataType.string)),
    ]
    refusal = [Property("code", DataType.string), Property("reason", DataType.string)]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "level", required=False),
        ColSpec(DataType.string, "landmark", required=False),
        ColSpec(DataType.double, "confidence", required=False),
        ColSpec(DataType.boolean, "is_landmark", required=False),
        ColSpec(DataType.double, "landmark_score", required=False),
        ColSpec(DataType.double, "latitude", required=False),
        ColSpec(DataType.double, "longitude", required=False),
        ColSpec(DataType.string, "city", required=False),
        ColSpec(DataType.string, "country", required=False),
        ColSpec(Array(DataType.string), "tags", required=False),
        ColSpec(Array(Object(place)), "candidates", required=False),
        ColSpec(DataType.string, "location_source", required=False),
        ColSpec(Object(refusal), "error", required=False),
    ]
    parameters = [
        ParamSpec("top_k", DataType.long, top_k),
        ParamSpec("threshold", DataType.double, threshold),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, INPUT_COLUMN)]),
        outputs=Schema(outputs),
        params=ParamSchema(parameters),
    )


def log_model(artifact: Path, example: bytes, params: Mapping[str, str]) -> ModelInfo:
    """Log an artifact folder to the active run as models-from-code; no pickle goes into it.

    example: bytes of a photo; a small copy of it, without its EXIF, becomes the input example.
    """
    with tempfile.TemporaryDirectory() as scratch:
        code = _stage_code(Path(scratch))
        logged: ModelInfo = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_MODEL_CODE),
            artifacts={ARTIFACT: str(artifact)},
            code_paths=[str(folder) for folder in code],
            signature=signature(),
            input_example=pd.DataFrame({INPUT_COLUMN: [_shrink(example)]}),
            pip_requirements=served_requirements(),
            params=dict(params),
        )
    return logged


def load_served(model_uri: str) -> ServedModel:
    """The logged model as `mlflow models serve` loads it."""
    loaded: ServedModel = mlflow.pyfunc.load_model(model_uri)
    return loaded


def register(model: ModelInfo, name: str, tags: Mapping[str, str], card: str) -> Registered:
    """Add a version of `name`; it becomes champion if none is, or if it is better.

    Better is a higher test/top1 on the same test photos (tag `test_digest`).
    """
    client = mlflow.MlflowClient()
    created = mlflow.register_model(f"models:/{model.model_id}", name, tags=dict(tags))
    client.update_model_version(name, created.version, description=card)
    champion = find_champion(name)
    reason = _why_better(champion, tags)
    if reason:
        if champion is not None:
            client.set_registered_model_alias(name, PREVIOUS, champion.version)
        client.set_registered_model_alias(name, CHAMPION, created.version)
    return Registered(name, int(created.version), bool(reason), reason or _why_not(champion, tags))


def register_challenger(
    model: ModelInfo, name: str, tags: Mapping[str, str], card: str
) -> Registered:
    """Add a version of `name` as the challenger, whatever the champion."""
    client = mlflow.MlflowClient()
    created = mlflow.register_model(f"models:/{model.model_id}", name, tags=dict(tags))
    client.update_model_version(name, created.version, description=card)
    client.set_registered_model_alias(name, CHALLENGER, created.version)
    return Registered(name, int(created.version), False, "it is the challenger")


def find_champion(name: str) -> ModelVersion | None:
    """The version that carries the alias, None when there is none."""
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        absent = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), "INVALID_PARAMETER_VALUE"}
        if error.error_code not in absent:
            raise
        return None


def _why_better(champion: ModelVersion | None, tags: Mapping[str, str]) -> str:
    if champion is None:
        return "the first version"
    if champion.tags.get("test_digest") != tags["test_digest"]:
        return ""
    before, now = float(champion.tags["top1"]), float(tags["top1"])
    return f"top-1 {now:.4f} against {before:.4f} of version {champion.version}" * (now > before)


def _why_not(champion: ModelVersion | None, tags: Mapping[str, str]) -> str:
    if champion is None or champion.tags.get("test_digest") != tags["test_digest"]:
        return "the champion was measured on other test photos, so the two cannot be compared"
    return f"the champion, version {champion.version}, has top-1 {champion.tags['top1']}"


def _shrink(photo: bytes) -> bytes:
    """Copy of a photo as a JPEG of a few KB; without EXIF it tells nothing of who took it where."""
    image = decode_photo(photo, min_side=_EXAMPLE_SIDE)
    image.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", icc_profile=None)
    return jpeg.getvalue()


def _stage_code(scratch: Path) -> list[Path]:
    """Copy of the few files that the served model imports, nothing else of the project."""
    for name in _SERVED_CODE:
        source, target = _ROOT / name, scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return [scratch / "landmark_ml", scratch / "serving"]
