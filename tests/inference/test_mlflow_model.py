"""The logged model as MLflow loads and serves it: requests, JSON, what its folder holds."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pybase64
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

from landmark_ml.inference.photos import read_location
from landmark_ml.inference.prediction import Prediction
from landmark_ml.inference.predictor import Predictor
from landmark_ml.registry.register import spark_schema
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo
from tests.serving.predict_threads import predicting
from tests.source_tree import ROOT

PHOTOS = [colour_photo(RED), colour_photo(GREEN), colour_photo(WHITE)]


def text(photo: bytes) -> str:
    return base64.b64encode(photo).decode("ascii")


def split(*values: Any, column: str = "image") -> dict[str, Any]:
    return {"dataframe_split": {"columns": [column], "data": [[value] for value in values]}}


def ask(served: PyFuncModel, payload: dict[str, Any]) -> list[Any]:
    """Answers to a request body, through the functions of MLflow's scoring server."""
    schema = served.metadata.get_input_schema()  # type: ignore[no-untyped-call]
    body = json.dumps(payload).encode()
    answer = scoring_server.invocations(  # type: ignore[no-untyped-call]
        body, "application/json", served, schema
    )
    assert (answer.status, answer.mimetype) == (200, "application/json")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    predictions: list[Any] = json.loads(answer.response, parse_constant=refuse)["predictions"]
    return predictions


def test_bytes_and_base64_text_get_the_answers_of_the_predictor(
    served: PyFuncModel, predictor: Predictor
) -> None:
    expected = predictor.predict(PHOTOS)
    encoded = [text(photo) for photo in PHOTOS]
    wrapped = [base64.encodebytes(photo).decode("ascii") for photo in PHOTOS]
    for images in (PHOTOS, encoded, wrapped):
        answers = served.predict(pd.DataFrame({"image": images}))
        assert isinstance(answers, pd.DataFrame)
        assert list(answers.columns) == list(Prediction.__annotations__)
        assert answers.to_dict(orient="records") == expected


@pytest.mark.parametrize(
    "payload",
    [
        split(text(PHOTOS[0]), text(PHOTOS[1])),
        {"dataframe_records": [{"image": text(photo)} for photo in PHOTOS[:2]]},
        {"inputs": {"image": [text(photo) for photo in PHOTOS[:2]]}},
        {"inputs": [text(photo) for photo in PHOTOS[:2]]},
        {"inputs": [{"image": text(photo)} for photo in PHOTOS[:2]]},
        {"instances": [{"image": text(photo)} for photo in PHOTOS[:2]]},
    ],
    ids=["split", "records", "inputs columns", "inputs list", "inputs records", "instances"],
)
def test_every_form_of_a_request_is_answered(
    payload: dict[str, Any], served: PyFuncModel, predictor: Predictor
) -> None:
    assert ask(served, payload) == predictor.predict(PHOTOS[:2])


def test_the_answer_is_plain_json(served: PyFuncModel) -> None:
    known, unknown = ask(served, split(text(PHOTOS[1]), text(PHOTOS[2])))
    assert known["landmark"] == "Château d'If"
    assert known["tags"] == ["castle", "island"]
    assert known["city"] is None
    assert type(known["confidence"]) is float
    assert type(known["is_landmark"]) is bool
    assert [type(item) for item in known["candidates"]] == [dict] * 3
    assert (unknown["landmark"], unknown["latitude"], unknown["tags"]) == (None, None, [])


def test_a_bad_photo_is_refused_in_its_row(served: PyFuncModel) -> None:
    good, hello, empty, last = ask(
        served, split(text(PHOTOS[0]), text(b"hello"), "", text(PHOTOS[1]))
    )
    assert (good["error"], last["error"]) == (None, None)
    assert last["landmark"] == "Château d'If"
    assert (hello["error"]["code"], empty["error"]["code"]) == ("not_an_image", "empty")
    assert set(hello["error"]) == {"code", "reason"}
    assert hello["candidates"] is None
    assert hello["confidence"] is None


def test_text_that_is_no_base64_is_no_photo(served: PyFuncModel) -> None:
    answers = ask(served, {"inputs": ["no base64!", text(PHOTOS[0])]})
    assert answers[0]["error"]["code"] == "not_an_image"
    assert answers[1]["landmark"] == "Eiffel Tower"


def test_a_row_over_the_limit_of_bytes_is_refused_alone_and_not_decoded(
    served: PyFuncModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served.unwrap_python_model()  # type: ignore[no-untyped-call]
    known, decoded = pybase64.b64decode, []

    def decode(data: bytes, validate: bool) -> bytes:
        decoded.append(len(data))
        return known(data, validate=validate)

    monkeypatch.setattr(pybase64, "b64decode", decode)
    images = ["A" * 50_400_000, text(PHOTOS[0])]
    answers = model.predict(None, pd.DataFrame({"image": images}))
    assert answers["error"][0]["code"] == "too_many_bytes"
    assert answers["landmark"][1] == "Eiffel Tower"
    assert decoded == [len(images[1])]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_row_without_a_photo_is_refused_alone(missing: object, served: PyFuncModel) -> None:
    model = served.unwrap_python_model()  # type: ignore[no-untyped-call]
    answers = model.predict(None, pd.DataFrame({"image": [missing, PHOTOS[0]]}))
    assert answers["error"][0]["code"] == "empty"
    assert answers["landmark"][1] == "Eiffel Tower"


def test_a_null_is_refused_in_its_row_where_mlflow_lets_it_through(served: PyFuncModel) -> None:
    answers = ask(served, {"inputs": [None, text(PHOTOS[0])]})
    assert answers[0]["error"]["code"] in ("empty", "not_an_image")
    assert answers[1]["landmark"] == "Eiffel Tower"


def test_parameters_reach_the_predictor(served: PyFuncModel, predictor: Predictor) -> None:
    params = {"top_k": 1, "threshold": 1}
    answers = ask(served, {**split(text(PHOTOS[0])), "params": params})
    assert answers == predictor.predict(PHOTOS[:1], top_k=1, threshold=1.0)
    assert answers[0]["is_landmark"] is False


def test_an_answer_as_json_loses_nothing(served: PyFuncModel, predictor: Predictor) -> None:
    photos = [*PHOTOS, b"hello"]
    expected = predictor.predict(photos, top_k=2)
    frame = pd.DataFrame({"image": photos})
    answers = served.predict(frame, params={"as_json": True, "top_k": 2})
    assert isinstance(answers, pd.DataFrame)
    assert list(answers.columns) == ["answer"]
    assert [json.loads(line) for line in answers["answer"]] == expected
    asked = ask(served, {**split(*map(text, PHOTOS)), "params": {"as_json": True, "top_k": 2}})
    assert [json.loads(row["answer"]) for row in asked] == expected[:3]


def test_a_loaded_model_keeps_to_the_threads_it_is_given(
    model_folder: Path, predictor: Predictor
) -> None:
    photos = PHOTOS * 6
    expected = predictor.predict(photos)
    before = predicting()
    loaded = mlflow.pyfunc.load_model(str(model_folder), model_config={"threads": 1})
    answers = loaded.predict(pd.DataFrame({"image": photos}))
    # One decodes while the network computes for the other.
    assert len(predicting() - before) == 2
    assert answers.to_dict(orient="records") == expected


def test_answers_are_a_table_of_pandas_own(served: PyFuncModel) -> None:
    # A class of the model's would differ from version to version, and pickle by its name.
    assert type(served.predict(pd.DataFrame({"image": PHOTOS}))) is pd.DataFrame


def test_a_table_of_no_rows_has_no_answers(served: PyFuncModel) -> None:
    assert ask(served, split()) == []


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (split(text(PHOTOS[0]), column="photo"), "missing inputs .'image'."),
        (split("abc"), "column image .*padding"),
        (split(None), "column image"),
        ({**split(text(PHOTOS[0])), "params": {"top_k": 0}}, "top_k is 0; give 1 or more"),
        ({**split(text(PHOTOS[0])), "params": {"threshold": 3}}, "threshold is 3.0; give a number"),
        ({**split(text(PHOTOS[0])), "params": {"top_k": "many"}}, "'top_k'"),
    ],
    ids=["column", "base64", "null", "top_k", "threshold", "type"],
)
def test_a_request_that_makes_no_sense_is_the_clients_error(
    payload: dict[str, Any], message: str, served: PyFuncModel
) -> None:
    with pytest.raises(MlflowException, match=message) as caught:
        ask(served, payload)
    assert caught.value.get_http_status_code() == 400  # type: ignore[no-untyped-call]


def test_the_folder_holds_code_and_no_pickle(model_folder: Path) -> None:
    files = {path.relative_to(model_folder).as_posix() for path in model_folder.rglob("*.*")}
    # Python leaves it beside the script when it loads the model.
    files = {name for name in files if not name.startswith("__pycache__/")}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pyc", ".pt", ".pth"))]
    code = {name.removeprefix("code/") for name in files if name.startswith("code/")}
    folder = ROOT / "landmark_ml" / "inference"
    shipped = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*.py")}
    assert code == {"landmark_ml/__init__.py", *shipped}
    assert {name for name in files if name.startswith("artifacts/")} == {
        "artifacts/artifact/metadata.json",
        "artifacts/artifact/model.onnx",
    }


def test_the_input_example_is_small_and_tells_nothing_of_its_maker(model_folder: Path) -> None:
    path = model_folder / "input_example.json"
    assert path.stat().st_size < 30_000
    columns = json.loads(path.read_text(encoding="utf-8"))
    photo = base64.b64decode(columns["data"][0][0])
    assert photo.startswith(b"\xff\xd8")
    assert read_location(photo) is None


def test_little_is_required_and_all_of_it_pinned(model_folder: Path) -> None:
    lines = (model_folder / "requirements.txt").read_text(encoding="utf-8").split()
    names = [line.partition("==")[0] for line in lines]
    decoding = ["pillow", "pillow-heif", "pybase64"]
    assert names == ["mlflow-skinny", "numpy", "openvino", "pandas", *decoding]
    assert all(line.partition("==")[2] for line in lines)


def test_the_signature_tells_clients_what_comes_back(model_folder: Path) -> None:
    signature = mlflow.models.get_model_info(str(model_folder)).signature
    assert signature is not None
    columns = {side: json.loads(text) for side, text in signature.to_dict().items()}
    assert columns["inputs"] == [{"type": "binary", "name": "image", "required": True}]
    assert [column["name"] for column in columns["outputs"]] == list(Prediction.__annotations__)
    assert mlflow.models.get_model_info(str(model_folder)).metadata == {
        "spark_schema": spark_schema()
    }
    assert [column["name"] for column in columns["params"]] == ["top_k", "threshold", "as_json"]


def test_loading_says_nothing(
    model_folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    with caplog.at_level(logging.INFO):
        mlflow.pyfunc.load_model(str(model_folder))
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []
