"""The page in a real browser: photos answered, tags copied, a model that becomes another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import IN_A_BROWSER
from tests.serving.app.visit import Visit, texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route


pytestmark = IN_A_BROWSER


def test_a_photo_gets_its_answer(visit: Visit, photos: Path) -> None:
    visit.page.wait_for_selector("#model:has-text('Answered by landmarks version 7')")
    visit.give(photos / "red.jpg")
    page = visit.page
    assert texts(page, ".landmark") == ["Eiffel Tower"]
    assert texts(page, ".place") == ["Paris, France"]
    assert texts(page, ".chip") == ["tower", "paris"]
    assert page.locator("#map circle.pin").count() == 1
    links = [link.get_attribute("href") for link in page.locator(".coordinates a").all()]
    assert links[0] == "geo:48.8584,2.2945"
    assert str(links[1]).startswith("https://www.openstreetmap.org/?mlat=48.8584&mlon=2.2945")


def test_it_says_where_photos_go_also_to_who_opened_it_from_elsewhere(visit: Visit) -> None:
    told = visit.page.inner_text("#drop")
    assert "on the server of this page" in told
    assert "this machine" not in told


def test_several_photos_and_a_bad_one(visit: Visit, photos: Path) -> None:
    names = ("red.jpg", "notes.jpg", "green.jpg", "white.jpg")
    visit.give(*(photos / name for name in names))
    page = visit.page
    assert texts(page, ".name") == list(names)
    assert texts(page, ".landmark") == [
        "Eiffel Tower",
        "No answer",
        "Château d'If",
        "No known landmark",
    ]
    assert texts(page, "[data-kind=error] .place") == ["This is not a photo."]
    assert page.inner_text("#progress") == "3 answered, 1 could not be read"
    page.click("#again")
    assert page.locator(".card").count() == 0


def test_photos_that_are_cleared_leave_nothing_behind(visit: Visit, photos: Path) -> None:
    page = visit.page
    page.route("**/api/tag*", lambda _: None)
    page.set_input_files("#choose", [str(photos / "red.jpg")] * 4)
    page.wait_for_selector("#progress:has-text('Looking at 4 photos…')")
    page.click("#again")
    page.wait_for_selector("#overview", state="hidden")
    page.unroute("**/api/tag*")
    visit.give(photos / "green.jpg")
    assert page.inner_text("#progress") == "1 answered"


def test_photos_that_are_cleared_are_not_sent_again(visit: Visit, photos: Path) -> None:
    sent: list[str] = []

    def refuse(route: Route) -> None:
        sent.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "1"}, json={})

    visit.page.route("**/api/tag*", refuse)
    visit.page.set_input_files("#choose", [str(photos / "red.jpg")])
    visit.page.wait_for_selector(".landmark:has-text('busy')")
    visit.page.click("#again")
    visit.page.wait_for_timeout(1500)
    assert len(sent) == 1
    # Chromium tells the console of every refusal.
    visit.complaints.clear()


def test_the_place_in_a_photo_is_set_beside_the_landmark(visit: Visit, photos: Path) -> None:
    visit.give(photos / "there.jpg")
    assert visit.page.locator("#map circle.taken-pin").count() == 1
    assert "Where the photo says it was taken, 109 km from Eiffel Tower." in texts(
        visit.page, ".taken"
    )


@pytest.mark.parametrize(
    ("level", "source", "zoom"),
    [
        ("landmark", "landmark", 15),
        ("country", "exif", 15),
        ("city", "exif", 15),
        ("city", "city", 11),
    ],
)
def test_the_map_is_as_near_as_the_place_is_known(
    level: str, source: str, zoom: int, visit: Visit, address: str, photos: Path
) -> None:
    # The browser hands no test the file that it sends, so it is asked about here.
    photo = (photos / "red.jpg").read_bytes()
    answer = visit.page.request.post(f"{address}/api/tag", data=photo).json()
    answer["photos"][0] |= {"level": level, "location_source": source}
    visit.page.route("**/api/tag*", lambda route: route.fulfill(json=answer))
    visit.give(photos / "red.jpg")
    links = visit.page.locator(".coordinates a").all()
    assert f"#map={zoom}/48.8584/" in str(links[1].get_attribute("href"))


def test_it_shows_where_it_looked(visit: Visit, photos: Path) -> None:
    visit.give(photos / "red.jpg")
    button = visit.page.locator(".look")
    button.click()
    canvas = visit.page.locator("canvas.attention")
    assert canvas.is_visible()
    assert button.inner_text() == "Hide where it looked"
    # Read out together, "hide" and "pressed" say the opposite of each other.
    assert button.get_attribute("aria-pressed") is None
    photo, laid = visit.page.locator(".frame img").bounding_box(), canvas.bounding_box()
    assert photo is not None
    assert laid == pytest.approx(photo, abs=1)
    button.click()
    assert not canvas.is_visible()
    assert button.inner_text() == "Show where it looked"


def test_it_offers_no_look_at_a_photo_that_the_browser_cannot_show(
    visit: Visit, photos: Path
) -> None:
    visit.give(photos / "red.tiff")
    assert texts(visit.page, ".landmark") == ["Eiffel Tower"]
    visit.page.wait_for_selector(".frame.blank")
    assert not visit.page.locator(".look").is_visible()
    assert not visit.page.locator("canvas.attention").is_visible()


def test_the_keyboard_reaches_everything(visit: Visit, photos: Path) -> None:
    visit.give(photos / "red.jpg")
    reached = []
    visit.page.locator("#choose").focus()
    for _ in range(20):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("() => document.activeElement.className"))
    for name in ("face", "look", "chip", "copy-all"):
        assert any(name in classes.split() for classes in reached), name


@pytest.mark.parametrize("width", [320, 390, 800, 1400])
def test_nothing_sticks_out_of_the_window(
    width: int, browser: Browser, address: str, photos: Path
) -> None:
    visit = Visit(browser, address, viewport={"width": width, "height": 800})
    visit.give(photos / "green.jpg", photos / "notes.jpg")
    visit.open("green.jpg")
    visit.page.click("#known summary")
    visit.page.wait_for_selector("#countries li")
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= width
    visit.context.close()


def test_it_is_light_or_dark_as_the_system_is(browser: Browser, address: str) -> None:
    shades = []
    for scheme in ("light", "dark"):
        visit = Visit(browser, address, color_scheme=scheme)
        colour = visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in colour.strip("rgb()").split(",")))
        visit.context.close()
    assert shades[0] > 600
    assert shades[1] < 150


def test_the_api_page_describes_every_call(visit: Visit, address: str) -> None:
    visit.page.goto(f"{address}/docs")
    visit.page.wait_for_selector("text=POST /api/tag")
    described = visit.page.request.get(f"{address}/openapi.json").json()["components"]["schemas"]
    for name in ("PhotoAnswer", "Candidate", "Model", "Landmark", "Readiness"):
        rows = texts(visit.page, f"#{name} tr:has(td)")
        fields = described[name]["properties"]
        assert len(rows) == len(fields)
        for row, field in zip(rows, fields, strict=True):
            assert row.startswith(field)
            assert len(row.split()) > 3, f"{name}.{field} is not explained"
    # Every type that is named leads to its description.
    for target in visit.page.locator("#api table a").all():
        assert visit.page.locator(str(target.get_attribute("href"))).count() == 1


def test_an_answer_keeps_what_its_own_model_saw(
    browser: Browser, serve: Callable[..., str], photos: Path
) -> None:
    visit = Visit(browser, serve())
    visit.give(photos / "red.jpg")
    before = _looked(visit)

    def answered_by_the_next(route: Route) -> None:
        # The browser does not show a route the bytes of an uploaded file.
        photo = (photos / "green.jpg").read_bytes()
        headers = {"Content-Type": "image/jpeg"}
        answer = route.fetch(post_data=photo, headers=headers).json()
        answer["model"] |= {"version": 8, "framing": "crop", "visible": 0.5}
        route.fulfill(json=answer)

    visit.page.route("**/api/tag*", answered_by_the_next)
    visit.give(photos / "green.jpg")
    visit.page.wait_for_selector("#model:has-text('version 8')")
    assert _looked(visit) == before
    visit.context.close()


def _looked(visit: Visit) -> str:
    """Style that places the map over the photo of red.jpg; shows the map and hides it again."""
    card = visit.open("red.jpg")
    card.locator(".look").click()
    laid = card.locator("canvas.attention").get_attribute("style")
    card.locator(".look").click()
    return laid or ""


@pytest.fixture
def answered(browser: Browser, address: str, photos: Path) -> Iterator[Visit]:
    """A page with one answer, which may copy and whose clock stands still."""
    visit = Visit(browser, address, permissions=["clipboard-read", "clipboard-write"])
    visit.give(photos / "red.jpg")
    visit.page.clock.install()
    visit.page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
    yield visit
    visit.context.close()


@pytest.mark.parametrize(
    ("selector", "label", "copied"),
    [(".chip >> nth=0", "tower", "tower"), (".copy-all", "Copy all", "tower, paris")],
)
def test_a_button_says_its_own_label_again_after_two_clicks(
    selector: str, label: str, copied: str, answered: Visit
) -> None:
    page = answered.page
    button = page.locator(selector)
    for _ in range(2):
        button.click()
        page.wait_for_function(
            "button => button.textContent === 'Copied'", arg=button.element_handle()
        )
        page.clock.run_for(800)
    assert page.evaluate("() => navigator.clipboard.readText()") == copied
    assert button.inner_text() == "Copied"
    page.clock.run_for(5000)
    assert button.inner_text() == label


def test_what_is_copied_is_announced_to_screen_readers(answered: Visit) -> None:
    page = answered.page
    said = page.locator("#copied")
    assert said.get_attribute("role") == "status"
    page.get_by_role("button", name="tower", exact=True).click()
    # The name is what stands on the button, before and after.
    page.get_by_role("button", name="Copied", exact=True).wait_for()
    assert said.inner_text() == "Copied: tower"
    page.get_by_role("button", name="Copy all").click()
    page.wait_for_function("() => document.querySelector('#copied').textContent.includes('paris')")
    page.clock.run_for(5000)
    assert said.inner_text() == ""
