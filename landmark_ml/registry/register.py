"""Log an exported artifact as an MLflow model and register it as a version.

The schemas of the model are made from the fields of an answer, in `inference.prediction`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import mlflow
import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

from landmark_ml.inference.photos import decode_photo
from landmark_ml.inference.prediction import Prediction, answer_fields
from landmark_ml.inference.predictor import ARTIFACT, DEFAULT_THRESHOLD, DEFAULT_TOP_K, INPUT_COLUMN
from landmark_ml.registry.history import AliasHistory, ConflictError

if TYPE_CHECKING:
    from landmark_ml.evaluation.judge import ServedModel

logger = logging.getLogger(__name__)

_LIBRARY = Path(__file__).resolve().parents[1]
_SERVED_CODE = _LIBRARY / "inference"
# mlflow-skinny is MLflow with its scoring server and without all that trains, plots and stores.
_SERVED_REQUIREMENTS = (
    *("mlflow-skinny", "numpy", "openvino", "pandas", "pillow", "pillow-heif", "pybase64"),
)
_EXAMPLE_SIDE = 224
_MLFLOW_TYPES = {str: DataType.string, float: DataType.double, bool: DataType.boolean}
_SPARK_TYPES = {str: "STRING", float: "DOUBLE", bool: "BOOLEAN"}
SPARK_SCHEMA = "spark_schema"
"""Key in a model's metadata: the columns of an answer, as Spark reads them from JSON."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, whether it is now the champion, and why."""

    name: str
    version: int
    is_champion: bool
    reason: str


def served_requirements() -> list[str]:
    """Packages of the served model, pinned to the versions installed here; nothing that trains."""
    return [f"{name}=={version(name)}" for name in _SERVED_REQUIREMENTS]


def log_model(artifact: Path, example: bytes, params: Mapping[str, str]) -> ModelInfo:
    """Log an artifact folder to the active run as models-from-code; no pickle goes into it.

    example: bytes of a photo; a small copy of it, without its EXIF, becomes the input example.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # The room that the served model imports, and nothing else of the project.
        code = Path(scratch) / _LIBRARY.name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_SERVED_CODE, code / _SERVED_CODE.name, ignore=ignored)
        shutil.copy(_LIBRARY / "__init__.py", code)
        logged: ModelInfo = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_SERVED_CODE / "mlflow_model.py"),
            artifacts={ARTIFACT: str(artifact)},
            code_paths=[str(code)],
            signature=signature(),
            input_example=pd.DataFrame({INPUT_COLUMN: [_shrink(example)]}),
            pip_requirements=served_requirements(),
            params=dict(params),
            # When a model is loaded, MLflow accepts only settings that are listed here.
            model_config={"threads": 0},
            metadata={SPARK_SCHEMA: spark_schema()},
        )
    return logged


def signature() -> ModelSignature:
    """Columns in and out of the served model, and its parameters with their defaults."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_mlflow_type(field.type), field.name, required=not field.nullable)
        for field in answer_fields(Prediction)
    ]
    parameters = [
        ParamSpec("top_k", DataType.long, DEFAULT_TOP_K),
        ParamSpec("threshold", DataType.double, DEFAULT_THRESHOLD),
        ParamSpec("as_json", DataType.boolean, False),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, INPUT_COLUMN)]),
        outputs=Schema(outputs),
        params=ParamSchema(parameters),
    )


def spark_schema() -> str:
    """Columns of an answer in Spark's DDL, such as `landmark STRING, tags ARRAY<STRING>`."""
    return ", ".join(
        f"{field.name} {_spark_type(field.type)}" for field in answer_fields(Prediction)
    )


def load_served(model_uri: str, threads: int = 0) -> ServedModel:
    """Load a logged model as `mlflow models serve` does; threads: cores to keep busy, 0: all."""
    loaded: ServedModel = mlflow.pyfunc.load_model(model_uri, model_config={"threads": threads})
    return loaded


def register(
    model: ModelInfo,
    name: str,
    tags: Mapping[str, str],
    card: str,
    about: str,
    *,
    only_challenger: bool = False,
) -> Registered:
    """Add a version of `name`: the champion where there is none, else the challenger.

    Training never replaces a champion: that takes a promotion, with evidence and a receipt.
    card: description of the version. about: what it recognises, in a sentence, for the description
    of a registered model without one. only_challenger: do not make it champion even where there is
    none.
    """
    client, history = mlflow.MlflowClient(), AliasHistory(name)
    # A run that was interrupted and continues may have its version already, perhaps no card.
    version = version_of_run(name, model.run_id) if model.run_id else 0
    if not version:
        created = mlflow.register_model(f"models:/{model.model_id}", name, tags=dict(tags))
        version = int(created.version)
    if not client.get_model_version(name, str(version)).description:
        client.update_model_version(name, str(version), description=card)
    if not client.get_registered_model(name).description:
        client.update_registered_model(
            name,
            description=f"{about} Version {version} learned this; the description of each version"
            " says what that one knows.\n\nServe the champion with"
            f" `landmarks serve model={shlex.quote(name)}`.",
        )
    head, repaired = history.reconcile()
    for note in repaired:
        logger.warning(note)
    if not head.champion and not only_challenger:
        reason = "there was no champion" if head.number else "the first version"
        # Another run may register the first champion at the same moment.
        with contextlib.suppress(ConflictError):
            history.move("register", version, head, "", model.run_id or "")
            return Registered(name, version, is_champion=True, reason=reason)
        head, _ = history.reconcile()
    if head.champion == version:
        return Registered(name, version, is_champion=True, reason="it was the champion already")
    history.set_challenger(version)
    reason = "it is the challenger"
    if head.champion and not only_challenger:
        known = client.get_model_version(name, str(head.champion)).tags
        reason = (
            f"top-1 {float(tags['top1']):.3f} against {float(known['top1']):.3f} of the champion,"
            f" version {head.champion}"
            if known.get("test_digest") == tags["test_digest"]
            else f"the champion, version {head.champion}, was measured on other test photos"
        )
    return Registered(name, version, is_champion=False, reason=reason)


def version_of_run(name: str, run_id: str) -> int:
    """Number of the newest version of `name` that a run made, 0 for none."""
    found = mlflow.search_model_versions(
        filter_string=f"name = '{name}' and run_id = '{run_id}'",
        order_by=["version_number DESC"],
        max_results=1,
    )
    return int(found[0].version) if found else 0


def _mlflow_type(kind: Any) -> DataType | Array | Object:
    if get_origin(kind) is list:
        return Array(_mlflow_type(get_args(kind)[0]))
    if kind in _MLFLOW_TYPES:
        return _MLFLOW_TYPES[kind]
    return Object(
        [
            Property(field.name, _mlflow_type(field.type), required=not field.nullable)
            for field in answer_fields(kind)
        ]
    )


def _spark_type(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"ARRAY<{_spark_type(get_args(kind)[0])}>"
    if kind in _SPARK_TYPES:
        return _SPARK_TYPES[kind]
    # In the order in which MLflow keeps the properties of an object.
    fields = sorted(answer_fields(kind), key=lambda field: field.name)
    return f"STRUCT<{', '.join(f'{field.name}: {_spark_type(field.type)}' for field in fields)}>"


def _shrink(photo: bytes) -> bytes:
    """Copy of a photo as a JPEG of a few KB, without the EXIF that tells who took it where."""
    image = decode_photo(photo, min_side=_EXAMPLE_SIDE)
    image.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", icc_profile=None)
    return jpeg.getvalue()
