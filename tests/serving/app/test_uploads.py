"""Forms as clients send them: what is no photo is refused by a sentence."""

from __future__ import annotations

import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from serving.app.answering import Upload

if TYPE_CHECKING:
    from tests.serving.app.conftest import App


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"--x\r\n", "multipart/form-data", "no boundary"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no files"),
        (b"--x\r\nhello", "multipart/form-data; boundary=x", "form"),
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


def test_a_file_input_left_empty_is_an_empty_photo(app: App) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="photos"; filename=""\r\n\r\n\r\n--x--\r\n'
    kind = "multipart/form-data; boundary=x"
    answers = app.client.post("/api/tag", content=part, headers={"Content-Type": kind}).json()
    assert answers["photos"][0]["error"]["code"] == "empty"


def test_a_photo_is_held_once() -> None:
    piece, count = 1 << 20, 16
    tracemalloc.start()
    try:
        upload = Upload()
        for number in range(count):
            upload.add(bytes([number]) * piece)
        photo = upload.take()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert photo == b"".join(bytes([number]) * piece for number in range(count))
    assert held < 1.5 * count * piece
