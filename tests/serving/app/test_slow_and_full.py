"""Clients that send too slowly, and more photos than may wait."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from tests.colour_artifact import RED, colour_photo
from tests.serving.app.slow_client import slow_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from landmark_ml.inference.predictor import Predictor
    from tests.serving.app.conftest import StartApp

PHOTO = colour_photo(RED)
LONGEST = 10.0


def test_an_upload_that_takes_too_long_is_given_up(serve: Callable[..., str]) -> None:
    with slow_upload(serve(timeout=0.2), len(PHOTO)) as upload:
        upload.send(PHOTO[:100])
        response, body = upload.answer()
        assert (response.status, response.getheader("Connection")) == (408, "close")
        detail = "the upload took over 0.2 s; send fewer or smaller photos"
        assert json.loads(body) == {"detail": detail}
        assert upload.is_hung_up()


def test_an_upload_in_time_is_answered_however_it_is_cut(serve: Callable[..., str]) -> None:
    with slow_upload(serve(timeout=LONGEST), len(PHOTO)) as upload:
        for part in (PHOTO[:100], PHOTO[100:]):
            upload.send(part)
        response, body = upload.answer()
        assert response.status == 200
        assert json.loads(body)["photos"][0]["landmark"] == "Eiffel Tower"


def test_memory_that_others_fill_asks_to_come_again(serve: Callable[..., str]) -> None:
    address = serve(max_memory=len(PHOTO) + 10, timeout=LONGEST)
    with slow_upload(address, len(PHOTO)) as upload:
        upload.send(PHOTO[:100])
        end = time.monotonic() + LONGEST
        while "landmarks_upload_bytes 100.0" not in httpx.get(f"{address}/metrics").text:
            assert time.monotonic() < end
        late = httpx.post(f"{address}/api/tag", content=PHOTO)
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) > 0
        upload.send(PHOTO[100:])
        assert upload.answer()[0].status == 200
    # What both held is given back.
    assert httpx.post(f"{address}/api/tag", content=PHOTO).status_code == 200


def test_more_photos_than_may_wait_are_asked_to_come_again(
    start_app: StartApp, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    real = type(predictor).score

    def held(*args: Any) -> Any:
        begun.set()
        assert go.wait(LONGEST)
        return real(*args)

    monkeypatch.setattr(type(predictor), "score", held)
    client = start_app(max_waiting=2).client
    # Two workers take four photos each: four of them wait, or more.
    many = [("photos", (f"{number}.jpg", PHOTO)) for number in range(12)]
    with ThreadPoolExecutor() as threads:
        first = threads.submit(client.post, "/api/tag", files=many)
        assert begun.wait(LONGEST)
        late = client.post("/api/tag", content=PHOTO)
        go.set()
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) > 0
        assert late.json()["detail"].endswith("photos are waiting already; try again")
        assert len(first.result(LONGEST).json()["photos"]) == 12
    assert client.post("/api/tag", content=PHOTO).status_code == 200
