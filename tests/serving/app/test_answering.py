"""Reading and answering photos: forms, order, errors, slow clients and full memory."""

from __future__ import annotations

import gc
import json
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx
import pytest

from landmark_ml.inference.photos import PhotoError
from landmark_ml.inference.predictor import Predictor
from serving.app.answering import AnswerQueue, TooBusyError
from tests.colour_artifact import RED, colour_photo
from tests.serving.app.conftest import App, StartApp
from tests.serving.app.slow_client import slow_upload


class BrokenError(RuntimeError):
    """Unlike those built in, it can be referred to weakly."""


class Echo:
    """Stands for a predictor: answers with the photo itself, once it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.asked: list[bytes] = []
        if not held:
            self.go.set()

    def score(self, photos: Sequence[bytes]) -> list[Any]:
        self.started.set()
        assert self.go.wait(10)
        self.asked += photos
        if b"fail" in photos:
            raise BrokenError("the network broke")
        return [PhotoError("empty", photo.decode()) for photo in photos]

    @property
    def predictor(self) -> Predictor:
        return cast("Predictor", self)


@pytest.fixture
def queue() -> Iterator[AnswerQueue]:
    made = AnswerQueue(1, 6)
    yield made
    made.close()


def reasons(found: list[Any]) -> list[str]:
    return [future.result(10).reason for future in found]


def numbers(count: int) -> list[bytes]:
    return [str(index).encode() for index in range(count)]


def test_answers_come_to_those_who_asked(queue: AnswerQueue) -> None:
    echo = Echo().predictor
    asked = [queue.submit(echo, [name.encode()]) for name in "abc"]
    assert [reasons(found) for found in asked] == [["a"], ["b"], ["c"]]


def test_a_full_queue_asks_to_try_again(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    first = queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    # One request of many photos is taken when nothing waits: it would never fit otherwise.
    many = queue.submit(echo.predictor, numbers(9))
    with pytest.raises(TooBusyError, match="9 photos are waiting already"):
        queue.submit(echo.predictor, [b"late"])
    assert len(queue) == 9
    echo.go.set()
    assert len(reasons(first + many)) == 10
    assert reasons(queue.submit(echo.predictor, [b"late"])) == ["late"]


def test_each_photo_is_answered_by_the_version_it_was_asked_of(queue: AnswerQueue) -> None:
    held, old, new = Echo(held=True), Echo(), Echo()
    first = queue.submit(held.predictor, [b"first"])
    assert held.started.wait(10)
    found = queue.submit(old.predictor, [b"a", b"b"]) + queue.submit(new.predictor, [b"c"])
    held.go.set()
    assert reasons(first + found) == ["first", "a", "b", "c"]
    assert (old.asked, new.asked) == ([b"a", b"b"], [b"c"])


def test_what_goes_wrong_reaches_those_who_wait_and_the_worker_goes_on(queue: AnswerQueue) -> None:
    echo = Echo().predictor
    (found,) = queue.submit(echo, [b"fail"])
    with pytest.raises(RuntimeError, match="the network broke"):
        found.result(10)
    assert reasons(queue.submit(echo, [b"next"])) == ["next"]


def test_photos_nobody_waits_for_are_left_out(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    first = queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    gone, kept = queue.submit(echo.predictor, [b"gone", b"kept"])
    assert gone.cancel()
    echo.go.set()
    assert reasons([*first, kept]) == ["first", "kept"]
    assert echo.asked == [b"first", b"kept"]


def test_a_stop_waits_for_photos_in_progress_alone(queue: AnswerQueue) -> None:
    echo = Echo(held=True)
    queue.submit(echo.predictor, [b"first"])
    assert echo.started.wait(10)
    waiting = queue.submit(echo.predictor, numbers(40))
    threading.Timer(0.1, echo.go.set).start()
    queue.close()
    assert all(future.cancelled() for future in waiting)
    assert echo.asked == [b"first"]


@pytest.mark.parametrize("photo", [b"photo", b"fail"])
def test_an_idle_worker_keeps_nothing_alive(photo: bytes, queue: AnswerQueue) -> None:
    echo = Echo()
    (found,) = queue.submit(echo.predictor, [photo])
    kept: list[weakref.ref[Any]] = [weakref.ref(echo), weakref.ref(found)]
    # The future belongs to the job, which holds the photo; bytes know no weak references.
    kept.append(weakref.ref(found.exception(10) or found.result()))
    del echo, found
    assert are_gone(kept)


def test_an_idle_worker_keeps_nothing_that_was_cancelled(queue: AnswerQueue) -> None:
    held, echo = Echo(held=True), Echo()
    first = queue.submit(held.predictor, [b"first"])
    assert held.started.wait(10)
    (gone,) = queue.submit(echo.predictor, [b"gone"])
    assert gone.cancel()
    kept: list[weakref.ref[Any]] = [weakref.ref(echo), weakref.ref(gone)]
    del echo, gone
    held.go.set()
    assert reasons(first) == ["first"]
    assert are_gone(kept)


def are_gone(kept: list[weakref.ref[Any]]) -> bool:
    """Whether all die soon: a worker answers shortly before it lets go."""
    end = time.monotonic() + 5
    while any(ref() is not None for ref in kept) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return all(ref() is None for ref in kept)


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


def test_memory_that_others_fill_asks_to_try_again(serve: Callable[..., str]) -> None:
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


def test_more_photos_than_may_wait_are_asked_to_try_again(
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


FORM = "multipart/form-data; boundary=x"
FILE = 'Content-Disposition: form-data; name="photos"; filename="a.jpg"'


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"--x\r\n", "multipart/form-data", "Missing boundary"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no files"),
        (b"--x\r\nhello", "multipart/form-data; boundary=x", "form"),
        (f"--x\r\n{FILE}\r\n\r\na\r\n--x\r\n{FILE}\r\n\r\nb".encode(), FORM, "cut short"),
        (b"garbage", "multipart/form-data; boundary=x", "cannot be read"),
        (b"--x--\r\n", f"multipart/form-data; boundary={'x' * 257}", "cannot be read"),
    ],
)
def test_a_form_that_makes_no_sense_is_the_clients_error(
    content: bytes, kind: str, words: str, app: App
) -> None:
    response = app.client.post("/api/tag", content=content, headers={"Content-Type": kind})
    assert response.status_code == 400
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ('form-data; name="top_k"', r"'top_k' of the form is not a file.*/api/tag\?top_k=3"),
        ("form-data", "not a file"),
    ],
)
def test_a_field_of_a_form_is_no_photo(headers: str, words: str, app: App) -> None:
    part = f"--x\r\nContent-Disposition: {headers}\r\n\r\n3\r\n"
    kind = "multipart/form-data; boundary=x"
    content = f"{part}--x--\r\n"
    response = app.client.post("/api/tag", content=content, headers={"Content-Type": kind})
    assert response.status_code == 400
    assert re.search(words, response.json()["detail"])


@pytest.mark.parametrize(
    "header",
    [
        'form-data; name="photos"; filename=""',
        "form-data; name=\"photos\"; filename*=UTF-8''a.jpg",
        'form-data; filename="a.jpg"',
    ],
)
@pytest.mark.parametrize("kind", [FORM, "Multipart/Form-Data; boundary=x"])
def test_a_file_of_a_form_is_a_photo_even_if_empty(header: str, kind: str, app: App) -> None:
    part = f"--x\r\nContent-Disposition: {header}\r\n\r\n\r\n--x--\r\n"
    answers = app.client.post("/api/tag", content=part, headers={"Content-Type": kind}).json()
    assert answers["photos"][0]["error"]["code"] == "empty"
