"""Versions of the registered model: which becomes champion, what each carries, its schemas."""

from __future__ import annotations

import json
from importlib.metadata import version

import mlflow
import pandas as pd
import pytest
from mlflow.models.model import ModelInfo

from landmark_ml.inference.prediction import Prediction
from landmark_ml.registry.history import CHALLENGER, CHAMPION, AliasHistory, history_name
from landmark_ml.registry.register import (
    Registered,
    load_served,
    register,
    served_requirements,
    signature,
    spark_schema,
)
from tests.colour_artifact import RED, colour_photo, log_artifact
from tests.serving.predict_threads import predicting


@pytest.fixture
def model(tracking_uri: str) -> ModelInfo:
    return log_artifact(tracking_uri)


@pytest.fixture(scope="module")
def second(tracking_uri: str) -> ModelInfo:
    """A model of a run of its own; logged once, because it takes seconds."""
    return log_artifact.__wrapped__(tracking_uri)


@pytest.fixture(scope="module")
def third(tracking_uri: str) -> ModelInfo:
    return log_artifact.__wrapped__(tracking_uri)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Registered model that no other test uses."""
    return str(request.node.name)


def add(model: ModelInfo, name: str, top1: str, digest: str = "these photos") -> Registered:
    tags = {"top1": top1, "test_digest": digest}
    return register(model, name, tags, f"# Card of {top1}", f"Recognises 3 colours at {top1}.")


def aliases(name: str) -> dict[str, int]:
    found = mlflow.MlflowClient().get_registered_model(name).aliases
    return {alias: int(number) for alias, number in found.items()}


def test_the_first_version_is_champion(model: ModelInfo, name: str) -> None:
    registered = add(model, name, "0.5")
    assert registered == Registered(name, 1, is_champion=True, reason="the first version")
    assert aliases(name) == {CHAMPION: 1}
    (entry,) = AliasHistory(name).entries()
    assert (entry.kind, entry.champion, entry.receipt) == ("register", 1, model.run_id)


def test_a_later_version_is_the_challenger_however_good(
    model: ModelInfo, second: ModelInfo, third: ModelInfo, name: str
) -> None:
    add(model, name, "0.5")
    better = add(second, name, "0.75")
    assert (better.version, better.is_champion) == (2, False)
    assert better.reason == "top-1 0.750 against 0.500 of the champion, version 1"
    assert aliases(name) == {CHAMPION: 1, CHALLENGER: 2}
    other = add(third, name, "0.99", digest="other photos")
    assert other.reason == "the champion, version 1, was measured on other test photos"
    assert aliases(name) == {CHAMPION: 1, CHALLENGER: 3}


def test_where_the_champion_was_deleted_the_next_version_takes_its_place(
    model: ModelInfo, second: ModelInfo, name: str
) -> None:
    add(model, name, "0.5")
    mlflow.MlflowClient().delete_model_version(name, "1")
    registered = add(second, name, "0.25")
    assert registered == Registered(name, 2, is_champion=True, reason="there was no champion")
    assert aliases(name) == {CHAMPION: 2}


def test_a_run_that_goes_on_after_it_was_registered_has_one_version(
    model: ModelInfo, second: ModelInfo, name: str
) -> None:
    client = mlflow.MlflowClient()
    for _ in range(2):
        assert add(model, name, "0.5").is_champion
        client.update_model_version(name, "1", description="")
    assert add(model, name, "0.5").version == 1
    assert client.get_model_version(name, "1").description == "# Card of 0.5"
    for _ in range(2):
        assert add(second, name, "0.75").version == 2
    assert aliases(name) == {CHAMPION: 1, CHALLENGER: 2}
    assert [entry.version for entry in AliasHistory(name).entries()] == [1]
    promoted = register(model, name, {}, "# Card", "", only_challenger=True)
    assert (promoted.version, promoted.is_champion) == (1, True)
    assert aliases(name) == {CHAMPION: 1, CHALLENGER: 2}


def test_a_version_carries_its_receipt(model: ModelInfo, name: str) -> None:
    add(model, name, "0.5")
    found = mlflow.MlflowClient().get_model_version(name, "1")
    assert found.tags == {"top1": "0.5", "test_digest": "these photos"}
    assert found.description == "# Card of 0.5"
    assert found.run_id == model.run_id


def test_a_registered_model_says_what_it_recognises_and_how_to_serve_it(
    model: ModelInfo, second: ModelInfo
) -> None:
    name, client = "my colours", mlflow.MlflowClient()
    add(model, name, "0.5")
    said = client.get_registered_model(name).description
    assert said.startswith("Recognises 3 colours at 0.5. Version 1 learned this;")
    assert "`landmarks serve model='my colours'`" in said
    history = client.get_registered_model(history_name(name)).description
    assert history.startswith("Alias history of `my colours`; it holds no model.")
    add(second, name, "0.75")
    assert client.get_registered_model(name).description == said
    client.update_registered_model(name, "What a person wrote.")
    add(second, name, "0.75")
    assert client.get_registered_model(name).description == "What a person wrote."


def test_requirements_are_those_installed_here() -> None:
    pins = dict(line.split("==") for line in served_requirements())
    assert pins == {name: version(name) for name in pins}
    assert not {"torch", "timm", "mlflow", "landmark-ml"} & set(pins)


def test_a_model_is_loaded_for_the_threads_it_is_given(model: ModelInfo) -> None:
    photos = pd.DataFrame({"image": [colour_photo(RED)] * 24})
    before = predicting()
    load_served(model.model_uri, threads=1).predict(photos)
    # One decodes while the network computes for the other.
    assert len(predicting() - before) == 2


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
