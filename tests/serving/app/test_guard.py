"""Who may ask: hostnames, other sites, the token; and what a browser may do with the page."""

from __future__ import annotations

import contextlib
import re
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from serving.app import serve
from serving.app.application import SECURITY_HEADERS
from serving.app.server import TOKEN_VARIABLE, configured_token
from tests.colour_artifact import RED, colour_photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from landmark_ml.inference.predictor import Predictor
    from tests.serving.app.conftest import App, StartApp


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
