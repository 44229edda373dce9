"""The token of the environment: one that a client can send, or none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from landmark_ml.config import AppConfig
from serving.app import serve
from serving.app.server import TOKEN_VARIABLE, configured_token

if TYPE_CHECKING:
    from tests.serving.app.conftest import StartApp


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
