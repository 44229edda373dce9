"""Columns of an MLflow schema as Spark spells those of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.types import ColSpec, DataType
from mlflow.types.schema import Array, Object

if TYPE_CHECKING:
    from mlflow.types import Schema

_TYPES = {
    DataType.boolean: "BOOLEAN",
    DataType.integer: "INT",
    DataType.long: "BIGINT",
    DataType.float: "FLOAT",
    DataType.double: "DOUBLE",
    DataType.string: "STRING",
    DataType.binary: "BINARY",
}


def spark_schema(schema: Schema) -> str:
    """Columns in Spark's DDL: `landmark STRING, tags ARRAY<STRING>`; needs no Spark.

    Raises ValueError for a column of a type that has no place in an answer.
    """
    columns = [column for column in schema.inputs if isinstance(column, ColSpec)]
    if len(columns) < len(schema.inputs):
        raise ValueError(f"{schema} has tensors in it; give a schema of columns")
    return ", ".join(f"{column.name} {_spell(column.type)}" for column in columns)


def _spell(kind: object) -> str:
    if isinstance(kind, Array):
        return f"ARRAY<{_spell(kind.dtype)}>"
    if isinstance(kind, Object):
        fields = [f"{item.name}: {_spell(item.dtype)}" for item in kind.properties]
        return f"STRUCT<{', '.join(fields)}>"
    if isinstance(kind, DataType) and kind in _TYPES:
        return _TYPES[kind]
    raise ValueError(f"{kind} has no type of Spark here; one of {', '.join(_TYPES.values())}")
