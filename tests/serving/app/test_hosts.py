"""The names under which the app may be asked, as whoever starts it writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serving.app.conftest import StartApp


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
