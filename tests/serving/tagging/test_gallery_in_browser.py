"""The gallery in a real browser, from the disk: seen, by keyboard, in every width and scheme."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import ExifTags, Image

from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.gallery import page_name
from serving.tagging.library import Library
from serving.tagging.table import Album
from serving.tagging.tagger import tag_library
from tests.browser import IN_A_BROWSER
from tests.colour_artifact import RED, colour_photo
from tests.serving.tagging.conftest import write_library

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request


pytestmark = IN_A_BROWSER
PAGES = [
    "index.html",
    f"albums/{page_name(Album('France', 'Paris', 'Eiffel Tower'))}",
    f"albums/{page_name(Album('France', None, None))}",
    "albums/refused.html",
    "albums/unplaced.html",
]


@pytest.fixture(scope="module")
def folder(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gallery")
    photos = write_library(root / "photos")
    names = ("<img src=x onerror=alert(1)>.jpg", f"{'very' * 40}long.jpg", "100% #1?.jpg")
    for year, name in enumerate(names, 2020):
        exif = Image.Exif()
        taken = f"{year}:07:14 10:11:12"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        (photos / name).write_bytes(colour_photo(RED, (600, 800), exif=exif.tobytes()))
    config = TagConfig(photos=str(photos), out=str(root / "out"), gallery=True)
    tag_library(Library(photos), Loaded(predictor, "landmarks", 1, "abc"), config)
    return root / "out/gallery"


class Visit:
    """A page that notes what it should not do: ask for what is not there, complain."""

    def __init__(self, browser: Browser, page: Path, **options: Any) -> None:
        self.page: Page = browser.new_context(**options).new_page()
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("request", lambda request: self._note(request.url))
        self.page.goto(page.as_uri())

    def _note_failure(self, request: Request) -> None:
        # Whoever leaves a page before its pictures are there cuts them off; the page is fine.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(request.url)

    def _note(self, url: str) -> None:
        if not url.startswith("file://"):
            self.foreign.append(url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1400])
def test_all_pictures_are_seen_and_nobody_is_asked(
    browser: Browser, folder: Path, width: int, scheme: str
) -> None:
    for name in PAGES:
        size = {"width": width, "height": 4000}
        visit = Visit(browser, folder / name, viewport=size, color_scheme=scheme)
        visit.page.wait_for_load_state("networkidle")
        broken = "[...document.images].filter(image => !image.naturalWidth).length"
        assert visit.page.evaluate(broken) == 0, name
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert visit.page.locator("h1").count() == 1
        assert (visit.complaints, visit.foreign) == ([], []), name
        light = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(255, 255, 255)") == (scheme == "light")


def test_albums_and_photos_are_searched_and_sorted(browser: Browser, folder: Path) -> None:
    visit = Visit(browser, folder / "index.html")

    def shown(what: str) -> list[str]:
        found = visit.page.locator(f"{what}:visible").all_inner_texts()
        return [text.strip() for text in found]

    assert shown(".tiles strong") == ["Château d'If", "Eiffel Tower", "Nowhere"]
    visit.page.fill("input", "paris 2021")
    assert shown(".tiles strong") == ["Eiffel Tower"]
    assert shown("h2") == ["France 6 photos"]
    assert shown("output") == ["1 of 3"]
    visit.page.get_by_role("link", name="Eiffel Tower").last.click()
    years = ["2020-07-14 10:11", "2021-07-14 10:11", "2022-07-14 10:11"]
    assert [text for text in shown(".file") if text in years] == years
    visit.page.select_option("select", "newest")
    assert [text for text in shown(".file") if text in years] == years[::-1]
    visit.page.fill("input", "2022")
    assert shown(".file")[0] == years[2]
    # What the photos share stands above them, and finds them all the same.
    visit.page.fill("input", "tower paris france")
    assert shown("output") == ["4 of 5"]
    assert visit.complaints == []


def test_a_narrow_map_has_pins_large_enough_and_no_names(browser: Browser, folder: Path) -> None:
    visit = Visit(browser, folder / "index.html", viewport={"width": 400, "height": 800})
    assert visit.page.locator(".map text:visible").count() == 0
    pin = visit.page.locator(".map .pin").first.bounding_box()
    assert pin is not None
    assert pin["width"] > 9
    visit.page.set_viewport_size({"width": 1400, "height": 800})
    assert visit.page.locator(".map text:visible").count() > 0


def test_the_keyboard_leads_from_all_albums_to_a_photo(browser: Browser, folder: Path) -> None:
    visit = Visit(browser, folder / "index.html")

    def press_until(what: str) -> None:
        for _ in range(30):
            visit.page.keyboard.press("Tab")
            if what in visit.page.evaluate("document.activeElement.outerHTML"):
                return
        raise AssertionError(f"the keyboard does not reach {what}")

    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    assert visit.page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
    visit.page.keyboard.press("Enter")
    press_until("Eiffel Tower")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert visit.page.evaluate(outline) == "solid"
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("h1:has-text('Eiffel Tower')")
    press_until("100%25")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/100%25%20%231%3F.jpg")
    assert visit.page.evaluate("document.images[0].naturalWidth") == 600
    visit.page.go_back()
    press_until("index.html")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#country-1")
    assert visit.complaints == []
