"""What people say of an answer: kept with the photo where the server was started for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from landmark_ml.corrections import read_corrections
from landmark_ml.data import Photo
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.scanning import read_photos
from serving.app.answering import keep_correction
from tests.browser import IN_A_BROWSER
from tests.colour_artifact import RED, colour_photo
from tests.serving.app.conftest import StartApp
from tests.serving.app.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHOTO = colour_photo(RED)
SAID = {"said": "Eiffel Tower", "decision": "landmark", "right": "Tokyo Tower"}


def test_without_a_file_nothing_is_stored(start_app: StartApp) -> None:
    app = start_app()
    assert not app.client.get("/api/model").json()["corrections"]
    assert app.client.post("/api/corrections", params=SAID, content=PHOTO).status_code == 404


def test_a_correction_is_kept_with_its_photo(start_app: StartApp, tmp_path: Path) -> None:
    file = tmp_path / "kept/corrections.csv"
    app = start_app(corrections=str(file))
    assert app.client.get("/api/model").json()["corrections"]
    assert app.client.post("/api/corrections", params=SAID, content=PHOTO).status_code == 200
    digest = hashlib.sha256(PHOTO).hexdigest()
    found = read_corrections(file)[digest]
    assert (found.said, found.decision, found.right) == tuple(SAID.values())
    assert Path(found.path).read_bytes() == PHOTO
    undone = {"decision": "undone", "said": "Eiffel Tower"}
    assert app.client.post("/api/corrections", params=undone, content=PHOTO).status_code == 200
    assert read_corrections(file) == {}
    assert not Path(found.path).exists()


def test_a_large_raw_file_is_known_as_trainings_know_it(tmp_path: Path) -> None:
    raw = b"FUJIFILMCCD-RAW ".ljust(148, b"\0") + PHOTO + bytes(34_000_000)
    file = tmp_path / "corrections.csv"
    keep_correction(file, raw, **SAID)
    (row,) = read_corrections(file).values()
    (photo,) = read_photos([ListedFile(Path(row.path), 0, None)], tmp_path / "cache", 1)
    assert isinstance(photo, Photo)
    assert photo.sha256 == row.sha256


@pytest.mark.parametrize(
    ("params", "photo"),
    [
        ({"decision": "landmark"}, PHOTO),
        ({"decision": "perhaps"}, PHOTO),
        ({}, PHOTO),
        (SAID | {"right": "x" * 201}, PHOTO),
        (SAID, b"no photo"),
    ],
)
def test_what_is_no_correction_leaves_nothing(
    params: dict[str, str], photo: bytes, start_app: StartApp, tmp_path: Path
) -> None:
    app = start_app(corrections=str(tmp_path / "corrections.csv"))
    assert app.client.post("/api/corrections", params=params, content=photo).status_code == 422
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


@IN_A_BROWSER[0]
@IN_A_BROWSER[1]
def test_the_card_takes_corrections(
    browser: Browser, serve: Callable[..., str], photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "corrections.csv"
    visit = Visit(browser, serve(corrections=str(file)))
    page = visit.page
    visit.give(photos / "red.jpg")
    assert "stored nowhere" not in page.inner_text("#drop")
    page.fill(".correct .right", "Tokyo Tower")
    page.keyboard.press("Enter")
    page.wait_for_selector(".told:has-text('Kept: this is Tokyo Tower.')")
    assert [row.right for row in read_corrections(file).values()] == ["Tokyo Tower"]
    page.get_by_role("button", name="This is wrong").click()
    page.wait_for_selector(".told:has-text('Kept: this is wrong.')")
    assert [row.decision for row in read_corrections(file).values()] == ["rejected"]
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(".told:has-text('Nothing is kept of this photo.')")
    assert read_corrections(file) == {}
    assert (visit.complaints, visit.foreign) == ([], [])
    visit.context.close()
    plain = Visit(browser, serve())
    plain.give(photos / "red.jpg")
    assert not plain.page.locator(".correct").is_visible()
    plain.context.close()
