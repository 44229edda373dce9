"""The HTTP API: forms and bare bytes, bad photos beside good ones, limits while reading."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from landmark_ml.geo.gazetteer import great_circle_km
from landmark_ml.inference.photos import DEFAULT_LIMITS
from landmark_ml.inference.prediction import Prediction
from tests.colour_artifact import GREEN, RED, TOWER, WHITE, colour_photo, gps_exif
from tests.serving.app.raw_requests import ask

if TYPE_CHECKING:
    from landmark_ml.inference.predictor import Predictor
    from tests.serving.app.conftest import App, StartApp

PHOTOS = [colour_photo(RED), colour_photo(GREEN), colour_photo(WHITE)]


def form(*photos: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (f"{index}.jpg", data, "image/jpeg")) for index, data in enumerate(photos)]


def predictions(answers: dict[str, Any]) -> list[dict[str, Any]]:
    """Answers with the fields of the served model alone."""
    return [
        {name: photo[name] for name in Prediction.__annotations__} for photo in answers["photos"]
    ]


def test_several_photos_get_the_answers_of_the_predictor(app: App, predictor: Predictor) -> None:
    app.linked_model()
    response = app.client.post("/api/tag", files=form(*PHOTOS))
    assert response.status_code == 200
    answers = response.json()
    assert predictions(answers) == predictor.predict(PHOTOS)
    assert [photo["name"] for photo in answers["photos"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert answers["model"] == {
        "name": "landmarks",
        "version": 7,
        "run_id": "abc",
        "run_url": "http://mlflow.test/abc",
        "landmarks": 3,
        "threshold": 0.5,
        "framing": "squash",
        "visible": 1.0,
    }


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", ""])
def test_the_body_may_be_a_photo(kind: str, app: App, predictor: Predictor) -> None:
    response = app.client.post("/api/tag", content=PHOTOS[0], headers={"Content-Type": kind})
    assert predictions(response.json()) == predictor.predict(PHOTOS[:1])
    assert response.json()["photos"][0]["name"] is None


def test_parameters_reach_the_predictor(app: App, predictor: Predictor) -> None:
    params = {"top_k": 1, "threshold": 1}
    response = app.client.post("/api/tag", params=params, files=form(PHOTOS[0]))
    assert predictions(response.json()) == predictor.predict(PHOTOS[:1], top_k=1, threshold=1.0)
    for wrong in ({"top_k": 0}, {"top_k": 51}, {"threshold": 2}, {"threshold": "nan"}):
        assert app.client.post("/api/tag", params=wrong, files=form(PHOTOS[0])).status_code == 422


def test_a_bad_photo_leaves_the_others_alone(app: App, predictor: Predictor) -> None:
    photos = [PHOTOS[0], b"hello", b"", PHOTOS[1]]
    answers = app.client.post("/api/tag", files=form(*photos)).json()
    assert predictions(answers) == predictor.predict(photos)
    codes = [photo["error"] and photo["error"]["code"] for photo in answers["photos"]]
    assert codes == [None, "not_an_image", "empty", None]


def test_a_photo_over_its_limit_is_refused_and_not_kept(app: App) -> None:
    huge = PHOTOS[0] + b"\0" * DEFAULT_LIMITS.max_bytes
    answers = app.client.post("/api/tag", files=form(huge, PHOTOS[1])).json()["photos"]
    assert answers[0]["error"]["code"] == "too_many_bytes"
    assert answers[1]["landmark"] == "Château d'If"


def test_attention_is_a_grid_from_0_to_1(app: App) -> None:
    bad, good = app.client.post("/api/tag", files=form(b"hello", PHOTOS[0])).json()["photos"]
    assert bad["attention"] is None
    values = [value for row in good["attention"] for value in row]
    assert (len(good["attention"]), len(values)) == (4, 16)
    assert max(values) == 1
    assert min(values) >= 0


def test_a_photo_with_a_place_tells_how_far_the_landmark_is(app: App) -> None:
    here = colour_photo(RED, exif=gps_exif(48, 3))
    elsewhere, plain = colour_photo(WHITE, exif=gps_exif(48, 3)), PHOTOS[0]
    answers = app.client.post("/api/tag", files=form(here, elsewhere, plain)).json()["photos"]
    expected = great_circle_km((48, 3), (TOWER.latitude, TOWER.longitude))
    assert answers[0]["distance_km"] == pytest.approx(expected, abs=0.001)
    assert (answers[1]["distance_km"], answers[2]["distance_km"]) == (None, None)


def test_too_many_photos_are_refused(start_app: StartApp) -> None:
    app = start_app(max_photos=2)
    assert app.client.post("/api/tag", files=form(*PHOTOS[:2])).status_code == 200
    response = app.client.post("/api/tag", files=form(*PHOTOS))
    assert response.status_code == 413
    assert "more than 2 photos" in response.json()["detail"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(start_app: StartApp) -> None:
    app = start_app(max_body=1000)
    # Told by its length, and found out while it is read.
    told = app.client.post("/api/tag", content=b"\0" * 1001)
    assert (told.status_code, told.headers["connection"]) == (413, "close")
    assert ask(app.client.app, [b"\0" * 100] * 1000) == (413, 11)


def test_a_body_over_the_memory_of_all_requests_is_refused_for_good(start_app: StartApp) -> None:
    app = start_app(max_memory=len(PHOTOS[0]) + 10)
    response = app.client.post("/api/tag", content=PHOTOS[0] + b"\0" * 100)
    assert response.status_code == 413
    assert "retry-after" not in response.headers
    assert ask(app.client.app, [PHOTOS[0], b"\0" * 100])[0] == 413
    # What the refused request held is given back.
    assert app.client.post("/api/tag", content=PHOTOS[0]).status_code == 200


def test_an_answer_that_takes_too_long_asks_to_try_again(
    start_app: StartApp, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, release = start_app(timeout=0.2), threading.Event()
    real = type(predictor).score
    monkeypatch.setattr(type(predictor), "score", lambda *args: (release.wait(5), real(*args))[1])
    response = app.client.post("/api/tag", content=PHOTOS[0])
    release.set()
    assert response.status_code == 503
    assert "retry-after" in response.headers


def test_a_new_version_answers_the_next_request(app: App) -> None:
    first = app.client.post("/api/tag", content=PHOTOS[0]).json()["model"]
    app.versions.current = replace(app.versions.current, version=8, run_id="def")
    second = app.client.post("/api/tag", content=PHOTOS[0]).json()["model"]
    assert (first["version"], second["version"]) == (7, 8)
    model = app.linked_model()
    assert model == {**second, "run_url": "http://mlflow.test/def"}
    assert app.asked_runs == ["abc", "def"]


def test_the_description_names_every_field(app: App) -> None:
    schemas = app.client.get("/openapi.json").json()["components"]["schemas"]
    assert set(Prediction.__annotations__) < set(schemas["PhotoAnswer"]["properties"])
    assert {"Answers", "Model", "Candidate", "Refusal", "Problem"} <= set(schemas)


def test_the_description_says_what_a_request_without_a_photo_gets(app: App) -> None:
    paths = app.client.get("/openapi.json").json()["paths"]
    form = paths["/api/tag"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["photos"]
    assert form["properties"]["photos"]["minItems"] == 1
    answer = app.client.post("/api/tag", content=b"")
    assert (answer.status_code, answer.json()["detail"][:27]) == (
        400,
        "the request has no photo; s",
    )


def test_the_description_gives_the_counters_as_text(app: App) -> None:
    described = app.client.get("/openapi.json").json()["paths"]["/metrics"]["get"]["responses"]
    assert list(described["200"]["content"]) == ["text/plain"]
    assert app.client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_the_description_says_what_a_threshold_left_out_does(app: App) -> None:
    call = app.client.get("/openapi.json").json()["paths"]["/api/tag"]["post"]
    (told,) = [item for item in call["parameters"] if item["name"] == "threshold"]
    assert "left out" in str(told)
    assert app.client.post("/api/tag?threshold=", content=PHOTOS[0]).status_code == 422
