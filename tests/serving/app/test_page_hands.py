"""Photos that are dropped on the page or pasted into it, and tags that are copied out of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser import IN_A_BROWSER
from tests.colour_artifact import GREEN
from tests.serving.app.visit import Visit, texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER

CLIPBOARD = ["clipboard-read", "clipboard-write"]
COPY_IMAGE = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const image = new Blob([bytes], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": image })]);
}"""

HOLD_UPLOADS = """() => {
  window.held = [];
  const { fetch } = window;
  window.fetch = (...request) => new Promise((resolve, reject) => {
    held.push(() => fetch(...request).then(resolve, reject));
  });
}"""


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    made = Visit(browser, address, permissions=CLIPBOARD)
    yield made
    made.context.close()
    assert made.complaints == []
    assert made.foreign == []


def drag(visit: Visit, kind: str, *paths: Path) -> None:
    """Move photos over the page as from a window with files, or let them go."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = visit.context.new_cdp_session(visit.page)
    session.send("Input.dispatchDragEvent", {"type": kind, "x": 30, "y": 300, "data": data})
    session.detach()


def copied(visit: Visit) -> str:
    return str(visit.page.evaluate("() => navigator.clipboard.readText()"))


def words_after_click(visit: Visit, selector: str) -> str:
    """What a button says for a while, until its own words are back."""
    button = visit.page.locator(selector).element_handle()
    before = button.inner_text()
    button.click()
    other = "([e, words]) => e.innerText !== words && e.innerText"
    words = str(visit.page.wait_for_function(other, arg=[button, before]).json_value())
    visit.page.wait_for_function("([e, words]) => e.innerText === words", arg=[button, before])
    return words


def test_photos_that_are_dropped_anywhere_are_answered(visit: Visit, photos: Path) -> None:
    paths = photos / "red.jpg", photos / "green.jpg"
    for kind in ("dragEnter", "dragOver"):
        drag(visit, kind, *paths)
    visit.page.wait_for_selector("#drop.over")
    drag(visit, "drop", *paths)
    visit.answered()
    assert texts(visit.page, ".name") == ["red.jpg", "green.jpg"]
    assert texts(visit.page, ".landmark") == ["Eiffel Tower", "Château d'If"]
    assert visit.page.locator("#drop.over").count() == 0


def test_what_cannot_be_read_is_not_blamed_on_the_server(
    visit: Visit, photos: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.jpg"
    gone.write_bytes((photos / "red.jpg").read_bytes())
    folder = tmp_path / "folder"
    folder.mkdir()
    # Held back until the photo is gone, as one that waits behind others.
    visit.page.evaluate(HOLD_UPLOADS)
    for kind in ("dragEnter", "dragOver", "drop"):
        drag(visit, kind, folder, gone, photos / "green.jpg")
    visit.page.wait_for_function("() => held.length === 3")
    gone.unlink()
    visit.page.evaluate("() => held.forEach((send) => send())")
    visit.answered()
    assert texts(visit.page, ".landmark") == ["No answer", "No answer", "Château d'If"]
    for told in texts(visit.page, "[data-kind=error] .place"):
        assert told.startswith("This cannot be read. Is it a folder")
    # Chromium tells the console of every file that it cannot read.
    visit.complaints.clear()


def test_a_server_that_is_gone_is_reported_once_and_photos_wait(visit: Visit, photos: Path) -> None:
    page = visit.page
    page.route("**/api/tag*", lambda route: route.abort())
    page.set_input_files("#choose", [str(photos / "red.jpg")] * 6)
    page.get_by_role("alert").wait_for()
    assert texts(page, "#reason") == ["The server does not answer. Is it still running?"]
    page.wait_for_selector("#progress:has-text('6 waiting')")
    assert set(texts(page, ".landmark")) == {"Waiting…"}
    page.unroute("**/api/tag*")
    page.get_by_role("button", name="Try again").click()
    visit.answered()
    page.wait_for_selector("#progress:has-text('6 answered')")
    assert not page.is_visible("#away")
    visit.complaints.clear()


def test_a_drag_that_leaves_the_page_is_forgotten(visit: Visit, photos: Path) -> None:
    for kind in ("dragEnter", "dragOver"):
        drag(visit, kind, photos / "red.jpg")
    visit.page.wait_for_selector("#drop.over")
    # The remote control of Chromium has no word for it, so the page is told by hand.
    visit.page.dispatch_event("h1", "dragleave")
    visit.page.wait_for_selector("#drop:not(.over)")
    assert visit.page.locator(".card").count() == 0


def test_a_photo_that_is_pasted_is_answered(visit: Visit) -> None:
    png = io.BytesIO()
    Image.new("RGB", (40, 32), GREEN).save(png, "PNG")
    visit.page.evaluate(COPY_IMAGE, base64.b64encode(png.getvalue()).decode())
    visit.page.keyboard.press("Control+V")
    visit.answered()
    assert texts(visit.page, ".landmark") == ["Château d'If"]


def test_words_that_are_pasted_are_no_photo(visit: Visit, photos: Path) -> None:
    visit.page.evaluate("() => navigator.clipboard.writeText('Eiffel Tower')")
    visit.page.keyboard.press("Control+V")
    visit.give(photos / "red.jpg")
    assert texts(visit.page, ".name") == ["red.jpg"]


@pytest.mark.parametrize(
    ("button", "expected"), [(".chip >> nth=1", "paris"), (".copy-all", "tower, paris")]
)
def test_tags_are_copied(button: str, expected: str, visit: Visit, photos: Path) -> None:
    visit.give(photos / "red.jpg")
    words_after_click(visit, button)
    assert copied(visit) == expected


def test_a_copy_that_is_not_allowed_is_reported(
    browser: Browser, address: str, photos: Path
) -> None:
    words = []
    # Chromium refuses all permissions but those that are named.
    for permissions in (CLIPBOARD, ["geolocation"]):
        visit = Visit(browser, address, permissions=permissions)
        visit.give(photos / "red.jpg")
        words.append(words_after_click(visit, ".copy-all"))
        visit.context.close()
        assert visit.complaints == []
    assert words[0] != words[1]
