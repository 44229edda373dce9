"""The application: its API, who may ask, what operators see, and the map of the page."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from landmark_ml.geo.gazetteer import great_circle_km
from landmark_ml.inference.photos import DEFAULT_LIMITS
from landmark_ml.inference.prediction import Prediction
from landmark_ml.inference.predictor import Predictor
from serving.app import serve
from serving.app.application import SECURITY_HEADERS
from serving.app.server import TOKEN_VARIABLE, configured_token
from tests.colour_artifact import GREEN, RED, TOWER, WHITE, colour_photo, gps_exif
from tests.serving.app.conftest import App, StartApp
from tests.serving.app.raw_requests import ask

PHOTOS = [colour_photo(RED), colour_photo(GREEN), colour_photo(WHITE)]


def form(*photos: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (f"{index}.jpg", data, "image/jpeg")) for index, data in enumerate(photos)]


def predictions(answers: dict[str, Any]) -> list[dict[str, Any]]:
    """Answers with the fields of the served model alone."""
    return [
        {name: photo[name] for name in Prediction.__annotations__} for photo in answers["photos"]
    ]


def test_several_photos_get_the_answers_of_the_predictor(app: App, predictor: Predictor) -> None:
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
        "samples": 0,
        "corrections": False,
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


def test_it_lists_the_landmarks_it_knows_with_their_places(app: App) -> None:
    known = app.client.get("/api/landmarks").json()
    assert known["model"]["version"] == 7
    castle, tower, nowhere = known["landmarks"]
    assert castle["landmark"] == "Château d'If"
    assert tower == {
        "landmark": "Eiffel Tower",
        "latitude": 48.8584,
        "longitude": 2.2945,
        "city": "Paris",
        "country": "France",
        "tags": ["tower", "paris"],
    }
    assert nowhere["latitude"] is None
    assert nowhere["tags"] == []


@pytest.mark.parametrize(
    ("language", "country"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "Frankreich"),
        ("en-US,en;q=0.9", "France"),
        ("tlh", "France"),
        ("*", "France"),
        ("../../de", "France"),
    ],
)
def test_places_are_named_in_the_language_of_the_browser(
    language: str, country: str, app: App
) -> None:
    asked = {"Accept-Language": language}
    answers = app.client.post("/api/tag", files=form(PHOTOS[0]), headers=asked).json()
    (photo,) = answers["photos"]
    assert (photo["city"], photo["country"]) == ("Paris", country)
    assert photo["candidates"][0]["country"] == country
    known = app.client.get("/api/landmarks", headers=asked).json()["landmarks"]
    assert {landmark["country"] for landmark in known} == {country, None}


def test_two_samples_are_drawn(app: App) -> None:
    samples = [app.client.get(f"/api/sample?number={number}").content for number in (1, 2)]
    assert [Image.open(io.BytesIO(sample)).format for sample in samples] == ["JPEG", "JPEG"]
    assert samples[0] != samples[1]
    assert app.client.get("/api/sample?number=3").status_code == 422


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
    # Refused by its declared length, and while it is read.
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
    app.versions.current = replace(app.versions.current, version=8, run_id="def", run_url=None)
    second = app.client.post("/api/tag", content=PHOTOS[0]).json()["model"]
    assert (first["version"], second["version"]) == (7, 8)
    assert (first["run_url"], second["run_url"]) == ("http://mlflow.test/abc", None)
    assert app.client.get("/api/model").json() == second


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


STATIC = Path(__file__).parents[3] / "serving" / "static"


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/static/app.js", "/api/model", "/openapi.json", "/nothing"]
)
def test_security_headers_stand_on_every_response(path: str, app: App) -> None:
    response = app.client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value
    assert "unsafe" not in response.headers["content-security-policy"]


def test_a_refusal_carries_them_too(app: App) -> None:
    response = app.client.get("/", headers={"Host": "stranger.test"})
    assert response.status_code == 400
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_a_fault_of_the_server_carries_them_too(
    app: App, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the network of me:sesame broke")

    monkeypatch.setattr(type(predictor), "score", fail)
    client = TestClient(app.client.app, base_url="http://localhost", raise_server_exceptions=False)
    response = client.post("/api/tag", content=colour_photo(RED))
    assert response.status_code == 500
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "in the log" in response.json()["detail"]
    assert "sesame" not in response.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8000", "LOCALHOST:1"])
def test_its_own_names_are_answered(host: str, app: App) -> None:
    assert app.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["stranger.test", "localhost.stranger.test", "127.0.0.1@x", ""])
def test_other_names_are_refused(host: str, app: App) -> None:
    assert app.client.get("/healthz", headers={"Host": host}).status_code == 400


def test_pages_of_other_sites_may_not_ask(app: App) -> None:
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"Sec-Fetch-Site": site}
        response = app.client.post("/api/tag", content=colour_photo(RED), headers=headers)
        assert response.status_code == status
    # Following a link from elsewhere is no harm.
    assert app.client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("http://localhost:8000", None, 200),
        ("https://LOCALHOST", None, 200),
        ("http://[::1]:8000", None, 200),
        ("http://stranger.test", None, 403),
        ("http://localhost.stranger.test:8000", None, 403),
        ("null", None, 403),
        # Behind a proxy that names this server otherwise, the browser knows better.
        ("https://photos.example", "same-origin", 200),
        ("http://localhost:8000", "cross-site", 403),
    ],
)
def test_a_page_is_known_by_its_origin_too(
    origin: str, site: str | None, status: int, app: App
) -> None:
    headers = {"Origin": origin} | ({"Sec-Fetch-Site": site} if site else {})
    assert app.client.get("/api/model", headers=headers).status_code == status


def test_two_hosts_are_refused(app: App) -> None:
    hosts = [("Host", "localhost"), ("Host", "localhost")]
    assert app.client.get("/healthz", headers=hosts).status_code == 400


def test_with_a_token_only_who_knows_it_is_answered(start_app: StartApp) -> None:
    client = start_app(token="sesame").client  # noqa: S106 - a test's
    for path in ("/api/model", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path).headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer other", "Basic sesame", "sesame", "sésame", "Bearer"):
            assert (
                client.get(path, headers={b"Authorization": wrong.encode("latin-1")}).status_code
                == 401
            )
        right = {"Authorization": "bearer sesame"}
        assert client.get(path, headers=right).status_code == 200
    for path in ("/", "/healthz", "/readyz", "/static/app.js"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("name", ["index.html", "docs.html"])
def test_pages_hold_no_script_or_style_and_load_nothing_from_elsewhere(name: str) -> None:
    page = (STATIC / name).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)
    assert all(address.startswith("/") for address in re.findall(r'(?:src|href)="([^"#]+)"', page))


def test_no_file_outside_the_page_is_given_out(serve: Callable[..., str]) -> None:
    file = STATIC.parent / "champion.py"
    assert file.is_file()
    names = ("../champion.py", "%2e%2e/champion.py", "..%2fchampion.py", str(file), "")
    outside = [f"/static/{name}" for name in names]
    # httpx, as browsers do, would clean up an address before it sends it.
    connection = HTTPConnection(urlsplit(serve()).netloc, timeout=30)
    found = {}
    with contextlib.closing(connection):
        for path in ("/static/app.js", *outside):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            found[path] = response.status
    assert found == {"/static/app.js": 200, **dict.fromkeys(outside, 404)}


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        ("photos.example", "photos.example", 200),
        ("photos.example", "photos.example:8000", 200),
        ("photos.example", "localhost", 400),
        ("photos.example", "own.photos.example", 400),
        ("localhost, photos.example ", "photos.example", 200),
        ("Photos.Example", "photos.EXAMPLE", 200),
        ("photos.example, ,", "", 400),
    ],
)
def test_own_names_take_the_place_of_the_usual_ones(
    hosts: str, host: str, status: int, start_app: StartApp
) -> None:
    client = start_app(hosts=hosts).client
    assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_without_the_variable_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert configured_token() == ""


@pytest.mark.parametrize("given", ["sesame", " sesame ", "sesame\n", "\tsesame\r\n"])
def test_outer_blanks_are_no_part_of_it(
    given: str, start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, given)
    client = start_app(token=configured_token()).client
    right = {"Authorization": "Bearer sesame"}
    assert client.get("/api/model", headers=right).status_code == 200


@pytest.mark.parametrize("given", ["", " ", "\n"])
def test_a_blank_one_does_not_leave_the_server_open(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, given)
    with pytest.raises(ValueError, match=r"LANDMARKS_TOKEN is set but blank; .* or unset it"):
        serve(AppConfig(port=0), lambda _: None)


@pytest.mark.parametrize("given", ["sésame", "ses ame", "ses\name", "ses\x7fame", "芝麻"])
def test_one_that_no_client_can_send_is_refused(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, given)
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        serve(AppConfig(port=0), lambda _: None)
    assert given not in str(refused.value)


def test_health_and_readiness(app: App) -> None:
    assert app.client.get("/healthz").json() == {"status": "ok"}
    assert app.client.get("/readyz").json() == {"status": "ok", "version": 7, "problem": None}


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/metrics", "/api/model"])
def test_head_is_answered_like_get_without_a_body(path: str, app: App) -> None:
    given, head = app.client.get(path), app.client.head(path)
    assert (given.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers["content-type"] == given.headers["content-type"]


def test_head_stands_in_no_description_and_asks_no_photo(app: App) -> None:
    calls = app.client.get("/openapi.json").json()["paths"].values()
    assert {method for call in calls for method in call} == {"get", "post"}
    assert app.client.head("/api/tag").status_code == 405


def test_readiness_tells_strangers_no_address(app: App) -> None:
    app.versions.problem = "API request to http://me:sesame@mlflow.example/api failed"
    ready = app.client.get("/readyz").json()
    assert (ready["status"], ready["version"]) == ("ok", 7)
    assert ready["problem"] == "the next champion cannot be loaded; the log says why"


def test_metrics_count_requests_and_what_photos_showed(app: App) -> None:
    files = [("photos", ("a.jpg", data)) for data in (colour_photo(RED), colour_photo(WHITE), b"x")]
    # As the page asks; photos are counted by the model's own threshold all the same.
    app.client.post("/api/tag?threshold=0", files=files)
    app.client.get("/secret/holiday.jpg")
    lines = app.client.get("/metrics").text.splitlines()
    assert 'landmarks_requests_total{method="POST",path="/api/tag",status="200"} 1.0' in lines
    for outcome in ("landmark", "none", "not_an_image"):
        assert f'landmarks_photos_total{{outcome="{outcome}"}} 1.0' in lines
    assert "landmarks_waiting_photos 0.0" in lines
    assert "landmarks_upload_bytes 0.0" in lines
    assert "landmarks_model_version 7.0" in lines
    assert 'landmarks_requests_total{method="GET",path="other",status="404"} 1.0' in lines
    assert not [line for line in lines if "holiday" in line]


def test_a_log_line_is_json_and_names_no_photo(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "serving.app")
    files = {"photos": ("my holiday.jpg", colour_photo(RED))}
    response = app.client.post("/api/tag?top_k=2", files=files)
    (line,) = [json.loads(record.message) for record in caplog.records]
    assert line["id"] == response.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/tag", 200)
    assert (line["photos"], line["outcomes"], line["version"]) == (1, {"landmark": 1}, 7)
    assert line["bytes_in"] > len(files["photos"][1])
    assert line["seconds"] > 0
    assert "holiday" not in caplog.text


def test_a_client_that_goes_away_is_no_fault_of_the_server(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serving.app")
    assert ask(app.client.app, [colour_photo(RED)[:100]], ends=False) == (499, 1)
    lines = app.client.get("/metrics").text.splitlines()
    assert 'landmarks_requests_total{method="POST",path="/api/tag",status="499"} 1.0' in lines
    assert "landmarks_upload_bytes 0.0" in lines
    line = json.loads(caplog.records[0].message)
    assert (line["status"], line["bytes_in"]) == (499, 100)


@pytest.fixture
def polygons(app: App) -> list[Outline]:
    answer = app.client.get("/static/world.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    assert re.fullmatch(r"(M[\d. L]+Z\n)+", answer.text)
    return [
        Outline(np.array([pair.split() for pair in line[1:-1].split("L")], dtype=float))
        for line in answer.text.splitlines()
    ]


@pytest.mark.parametrize(
    ("place", "latitude", "longitude", "is_land"),
    [
        ("Paris", 48.9, 2.4, True),
        ("Sydney", -33.0, 150.0, True),
        ("Denver", 39.7, -105.0, True),
        ("Atlantic", 30.0, -40.0, False),
        ("Pacific", 0.0, -140.0, False),
        ("Mediterranean", 35.0, 18.0, False),
    ],
)
def test_land_is_outlined_where_it_lies(
    place: str, latitude: float, longitude: float, is_land: bool, polygons: list[Outline]
) -> None:
    point = (longitude + 180, 90 - latitude)
    outlines_around = sum(bool(polygon.contains_point(point)) for polygon in polygons)
    assert outlines_around % 2 == is_land, place
