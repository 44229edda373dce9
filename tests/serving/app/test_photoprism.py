"""PhotoPrism's requests for labels: what it sends, what it can read, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from starlette.testclient import TestClient

from landmark_ml.inference.predictor import Predictor
from tests.colour_artifact import BLUE, GREEN, RED, WHITE, colour_photo
from tests.serving.app.conftest import App, StartApp

LABELS = "/api/v1/vision/labels"
ID = "3487da77-246e-4b4c-9437-67507177bcd7"


class Strict(BaseModel):
    """What PhotoPrism can read: fields of these types alone, or it takes the answer for broken."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Label(Strict):
    name: str = Field(min_length=1)
    source: str
    priority: int = Field(ge=-2, le=5)
    confidence: float = Field(gt=0, le=1)
    topicality: float = Field(ge=0, le=1)
    categories: list[str]


class Model(Strict):
    type: str = Field(pattern="^labels$")
    name: str
    version: str


class Result(Strict):
    labels: list[Label]


class Answer(Strict):
    id: str
    code: int = Field(ge=200, le=200)
    model: Model
    result: Result


class Problem(Strict):
    code: int = Field(ge=400)
    error: str = Field(min_length=1)


def data_url(photo: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"


def ask(app: App, *images: str, **fields: Any) -> Any:
    """Send what PhotoPrism sends: it always writes `suffix` and `stream`."""
    request = {"id": ID, "model": "landmarks", "version": "latest", "suffix": "", "stream": False}
    return app.client.post(LABELS, json=request | {"images": images} | fields)


def labels(response: Any) -> list[Label]:
    answer = Answer.model_validate_json(response.content)
    assert response.status_code == 200
    assert answer.id == ID
    return answer.result.labels


def refusal(response: Any) -> tuple[int, str]:
    problem = Problem.model_validate_json(response.content)
    assert problem.code == response.status_code
    return problem.code, problem.error


def test_a_landmark_gets_labels_of_itself_its_city_and_its_country(
    app: App, predictor: Predictor
) -> None:
    photo = colour_photo(RED)
    response = ask(app, data_url(photo))
    landmark, city, country = labels(response)
    assert (landmark.name, city.name, country.name) == ("Eiffel Tower", "Paris", "France")
    assert landmark.categories == ["tower", "paris"]
    assert landmark.priority > city.priority > country.priority
    assert landmark.source == "image"
    (expected,) = predictor.predict([photo])
    assert landmark.confidence == pytest.approx(expected["confidence"])
    assert response.json()["model"] == {"type": "labels", "name": "landmarks", "version": "7"}


def test_a_place_that_nobody_knows_is_left_out(app: App) -> None:
    assert [label.name for label in labels(ask(app, data_url(colour_photo(BLUE))))] == ["Nowhere"]
    castle = labels(ask(app, data_url(colour_photo(GREEN))))
    assert [label.name for label in castle] == ["Château d'If", "France"]


def test_a_photo_without_a_landmark_gets_no_labels(app: App) -> None:
    assert labels(ask(app, data_url(colour_photo(WHITE)))) == []


def test_several_images_are_crops_of_one_photo(app: App) -> None:
    crops = [data_url(colour_photo(colour)) for colour in (WHITE, RED, WHITE)]
    assert [label.name for label in labels(ask(app, *crops))] == ["Eiffel Tower", "Paris", "France"]
    both = [data_url(colour_photo(RED)), data_url(colour_photo(GREEN))]
    named = [label.name for label in labels(ask(app, *both))]
    assert named in (["Eiffel Tower", "Paris", "France"], ["Château d'If", "France"])


def test_a_name_stands_once(
    app: App, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def singapore(*given: Any) -> Any:
        return real(*given) | {"city": "Singapore", "country": "Singapore"}

    real = Predictor.answer
    monkeypatch.setattr(type(predictor), "answer", singapore)
    found = labels(ask(app, data_url(colour_photo(RED))))
    assert [label.name for label in found] == ["Eiffel Tower", "Singapore"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "the body cannot be read: Invalid JSON"),
        (b"{", "the body cannot be read: Invalid JSON"),
        (b"\xff\xfe", "the body cannot be read: Invalid JSON"),
        (b"", "the request has no photo"),
        (b"[]", "the body cannot be read"),
        (b"{}", "the request has no images; send at least one"),
        (b'{"images": []}', "the request has no images; send at least one"),
        (b'{"images": "x"}', "images cannot be read"),
        (b'{"images": [7]}', "images.0 cannot be read"),
        (b'{"id": 7, "images": []}', "id cannot be read"),
        (b'{"images": ["data:image/jpeg;base64,AAA"]}', "image 1 is no data URL with base64"),
        (b'{"images": ["data:image/jpeg;base64,????"]}', "image 1 is no data URL with base64"),
        ('{"images": ["data:image/jpeg;base64,é"]}'.encode(), "image 1 is no data URL with base64"),
        (b'{"images": ["data:image/jpeg;base64,"]}', r"image 1: .* \(empty\)"),
        (b'{"images": ["data:image/jpeg,AAAA"]}', r"image 1: .* \(empty\)"),
        (b'{"images": ["/9j/4AAQ"]}', "image 1 is no data URL"),
        (b'{"images": [""]}', "image 1 is no data URL"),
        (b'{"images": [%s]}' % b",".join([b"[]"] * 20_000), "the JSON has over 10,000 values"),
        (b"[" * 9_000 + b"]" * 9_000, "the body cannot be read"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(body: bytes, reason: str, app: App) -> None:
    response = app.client.post(LABELS, content=body, headers={"Content-Type": "application/json"})
    code, told = refusal(response)
    assert code == 400
    assert re.match(reason, told)


def test_a_form_is_refused(app: App) -> None:
    response = app.client.post(LABELS, files={"photos": colour_photo(RED)})
    assert refusal(response)[0] == 400


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_address_is_ever_opened(scheme: str, app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        address = f"{scheme}://127.0.0.1:{stranger.getsockname()[1]}/photo.jpg"
        assert "has no images" in refusal(ask(app, url=address))[1]
        for response in (ask(app, address), ask(app, "file:///etc/passwd")):
            code, told = refusal(response)
            assert code == 400
            assert "opens no address; set FileScheme: data" in told
        with pytest.raises(BlockingIOError):
            stranger.accept()


def huge_jpeg() -> bytes:
    """Write 65,535 x 65,535 pixels into the header of a small picture."""
    before, start, after = colour_photo(RED).partition(b"\xff\xc0\x00\x11\x08")
    return before + start + b"\xff" * 4 + after[4:]


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        (b"hello", "not_an_image"),
        (colour_photo(RED, (400, 300))[:-400], "truncated"),
        (huge_jpeg(), "unsupported"),
    ],
)
def test_a_hostile_image_is_refused_by_name(photo: bytes, code: str, app: App) -> None:
    status, told = refusal(ask(app, data_url(colour_photo(RED)), data_url(photo)))
    assert status == 400
    assert told.startswith("image 2: ")
    assert f"({code})" in told


def test_too_much_is_refused(start_app: StartApp) -> None:
    image = data_url(colour_photo(RED))
    code, told = refusal(ask(start_app(), *[image] * 100))
    assert (code, told) == (413, "the request has more than 64 images; send fewer")
    code, told = refusal(ask(start_app(max_body=1000), image * 10))
    assert code == 413
    assert "more than 1,000 bytes" in told


def test_only_who_knows_the_token_is_answered(start_app: StartApp) -> None:
    app = start_app(token="sesame")  # noqa: S106 - a test's
    image = data_url(colour_photo(RED))
    for headers in ({}, {"Authorization": "Bearer other"}, {"X-Auth-Token": "sesame"}):
        response = app.client.post(LABELS, json={"images": [image]}, headers=headers)
        assert refusal(response)[0] == 401
        assert response.headers["www-authenticate"] == "Bearer"
    app.client.headers["Authorization"] = "Bearer sesame"
    assert labels(ask(app, image))[0].name == "Eiffel Tower"


def test_a_fault_of_the_server_has_their_shape_too(
    app: App, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the network broke")

    monkeypatch.setattr(type(predictor), "score", fail)
    client = TestClient(app.client.app, base_url="http://localhost", raise_server_exceptions=False)
    response = client.post(LABELS, json={"images": [data_url(colour_photo(RED))]})
    assert refusal(response) == (500, "the server failed; what happened is in the log")


def test_images_are_counted_and_held_as_other_photos_are(app: App) -> None:
    ask(app, data_url(colour_photo(RED)))
    lines = app.client.get("/metrics").text.splitlines()
    assert f'landmarks_requests_total{{method="POST",path="{LABELS}",status="200"}} 1.0' in lines
    assert 'landmarks_photos_total{outcome="landmark"} 1.0' in lines
    assert "landmarks_upload_bytes 0.0" in lines


def test_the_description_shows_request_and_answer(app: App) -> None:
    described = app.client.get("/openapi.json").json()
    call = described["paths"][LABELS]["post"]
    fields = call["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(fields) == {"id", "images"}
    assert set(described["components"]["schemas"]["Label"]["properties"]) == set(Label.model_fields)
    assert json.dumps(call["responses"]["400"]).count("LabelsProblem") == 1
