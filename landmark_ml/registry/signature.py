"""Schemas of the served model, made from the fields of an answer: MLflow's signature and Spark's.

The fields are declared in `inference.prediction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Object, Property

from landmark_ml.inference.artifact import INPUT_COLUMN
from landmark_ml.inference.prediction import Prediction, answer_fields
from landmark_ml.inference.predictor import DEFAULT_THRESHOLD, DEFAULT_TOP_K

if TYPE_CHECKING:
    from mlflow.types import TensorSpec

_MLFLOW_TYPES = {str: DataType.string, float: DataType.double, bool: DataType.boolean}
_SPARK_TYPES = {str: "STRING", float: "DOUBLE", bool: "BOOLEAN"}


def signature(top_k: int = DEFAULT_TOP_K, threshold: float = DEFAULT_THRESHOLD) -> ModelSignature:
    """Columns in and out of the served model, and its parameters with their defaults."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_mlflow_type(field.type), field.name, required=not field.nullable)
        for field in answer_fields(Prediction)
    ]
    parameters = [
        ParamSpec("top_k", DataType.long, top_k),
        ParamSpec("threshold", DataType.double, threshold),
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
