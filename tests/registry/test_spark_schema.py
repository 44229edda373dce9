"""Columns as Spark spells them."""

from __future__ import annotations

import pytest
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

from landmark_ml.inference.prediction import Prediction
from landmark_ml.registry.register import signature
from landmark_ml.registry.spark_schema import spark_schema


def test_nested_columns_are_spelled_out() -> None:
    place = Object([Property("name", DataType.string), Property("tags", Array(DataType.string))])
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.boolean, "seen"),
        ColSpec(DataType.long, "count"),
        ColSpec(Array(place), "places"),
    ]
    assert spark_schema(Schema(columns)) == (
        "seen BOOLEAN, count BIGINT, places ARRAY<STRUCT<name: STRING, tags: ARRAY<STRING>>>"
    )


def test_the_columns_are_those_of_an_answer() -> None:
    spelled = spark_schema(signature().outputs)
    assert spelled.startswith("level STRING, landmark STRING, confidence DOUBLE, is_landmark BOOL")
    assert spelled.endswith("error STRUCT<code: STRING, reason: STRING>")
    assert all(f"{name} " in spelled for name in Prediction.__annotations__)


def test_a_type_without_a_place_in_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="datetime has no type of Spark here; one of BOOLEAN"):
        spark_schema(Schema([ColSpec(DataType.datetime, "taken")]))
