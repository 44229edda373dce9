"""The schemas of the served model: those of the models that users have, and those of an answer."""

from __future__ import annotations

import json

from landmark_ml.inference.prediction import Prediction
from landmark_ml.registry.register import signature, spark_schema

PLACE = {
    "city": {"type": "string", "required": False},
    "confidence": {"type": "double", "required": True},
    "country": {"type": "string", "required": False},
    "landmark": {"type": "string", "required": True},
    "latitude": {"type": "double", "required": False},
    "longitude": {"type": "double", "required": False},
    "tags": {"type": "array", "items": {"type": "string"}, "required": True},
}
REFUSAL = {
    "code": {"type": "string", "required": True},
    "reason": {"type": "string", "required": True},
}
# What a model logged by version 0.1.0 has in its MLmodel. Clients rely on it.
LOGGED = [
    {"type": "string", "name": "level", "required": False},
    {"type": "string", "name": "landmark", "required": False},
    {"type": "double", "name": "confidence", "required": False},
    {"type": "boolean", "name": "is_landmark", "required": False},
    {"type": "double", "name": "landmark_score", "required": False},
    {"type": "double", "name": "latitude", "required": False},
    {"type": "double", "name": "longitude", "required": False},
    {"type": "string", "name": "city", "required": False},
    {"type": "string", "name": "country", "required": False},
    {"type": "array", "items": {"type": "string"}, "name": "tags", "required": False},
    {
        "type": "array",
        "items": {"type": "object", "properties": PLACE},
        "name": "candidates",
        "required": False,
    },
    {"type": "string", "name": "location_source", "required": False},
    {"type": "object", "properties": REFUSAL, "name": "error", "required": False},
]
SPARK = (
    "level STRING, landmark STRING, confidence DOUBLE, is_landmark BOOLEAN, landmark_score DOUBLE,"
    " latitude DOUBLE, longitude DOUBLE, city STRING, country STRING, tags ARRAY<STRING>,"
    " candidates ARRAY<STRUCT<city: STRING, confidence: DOUBLE, country: STRING, landmark: STRING,"
    " latitude: DOUBLE, longitude: DOUBLE, tags: ARRAY<STRING>>>, location_source STRING,"
    " error STRUCT<code: STRING, reason: STRING>"
)


def test_the_columns_of_logged_models_stay() -> None:
    made = {part: json.loads(text) for part, text in signature().to_dict().items()}
    assert made["inputs"] == [{"type": "binary", "name": "image", "required": True}]
    assert json.dumps(made["outputs"][: len(LOGGED)]) == json.dumps(LOGGED)
    assert [(item["name"], item["default"], item["type"]) for item in made["params"]] == [
        ("top_k", 5, "long"),
        ("threshold", -1.0, "double"),
        ("as_json", False, "boolean"),
    ]
    assert spark_schema().startswith(SPARK)


def test_every_field_of_an_answer_is_a_column() -> None:
    columns = json.loads(signature().to_dict()["outputs"])
    assert [column["name"] for column in columns] == list(Prediction.__annotations__)
    assert all(f"{name} " in spark_schema() for name in Prediction.__annotations__)
