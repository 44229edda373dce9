"""The review page in a real browser: by keyboard, on narrow and wide screens, with many photos."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from landmark_ml.config import ReviewConfig
from landmark_ml.corrections import read_corrections
from serving.app.server import server_config
from serving.review import Review, create_review
from tests.browser import IN_A_BROWSER
from tests.serving.app.visit import Visit, texts
from tests.serving.review.conftest import drawn, made_up, write_tagged

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER


class Page(Visit):
    """The page of a library, and the decisions that it stored."""

    def __init__(self, browser: Browser, config: ReviewConfig, **options: object) -> None:
        self.server = uvicorn.Server(server_config(create_review(Review(config), config), port=0))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the page ended before it listened"
            time.sleep(0.02)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        super().__init__(browser, f"http://127.0.0.1:{port}", **options)
        self.page.wait_for_selector(".pick")
        self.file = Path(config.out) / "corrections.csv"

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def chosen(self) -> str:
        return self.page.locator(".pick[aria-current] .file").inner_text()

    def stored(self) -> dict[str, tuple[str, str]]:
        """Decisions by the name of the photo, once all have arrived."""
        self.page.wait_for_selector("#model:has-text('kept in')")
        found = read_corrections(self.file).values() if self.file.exists() else ()
        return {Path(row.path).name: (row.decision, row.right) for row in found}

    def close(self) -> None:
        self.context.close()
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture
def page(browser: Browser, config: ReviewConfig) -> Iterator[Page]:
    made = Page(browser, config, viewport={"width": 1300, "height": 900})
    yield made
    made.close()
    assert made.complaints == []
    assert made.foreign == []


def test_a_library_is_reviewed_by_keyboard_alone(page: Page) -> None:
    assert texts(page.page, ".group-head h2") == [
        "Eiffel Tower, Paris, France",
        "Château d'If, France",
        "No known landmark",
    ]
    assert page.chosen() == "tower 1.jpg"
    page.press("a")
    assert page.chosen() == "tower 2.jpg"
    page.press("x", "2")
    # The three of the tower are done: on to the next group.
    assert page.chosen() == "castle.jpg"
    page.press("n")
    page.press("o")
    page.page.keyboard.type("taj m")
    page.press("Enter")
    assert page.stored() == {
        "tower 1.jpg": ("landmark", "Eiffel Tower"),
        "tower 2.jpg": ("rejected", ""),
        "tower 0.jpg": ("landmark", "Château d'If"),
        "castle.jpg": ("no_landmark", ""),
        "blue.jpg": ("landmark", "Taj Mahal"),
    }
    assert page.chosen() == "white.jpg"
    page.press("Enter")
    page.page.reload()
    page.page.wait_for_selector("#empty:has-text('Everything is reviewed.')")
    page.page.get_by_role("radio", name="Reviewed").check()
    page.page.wait_for_selector(".pick")
    assert page.page.locator(".pick").count() == 6
    # Steps before the reload are not known any more; what stands there can be withdrawn.
    page.press("u")
    assert "tower 1.jpg" not in page.stored()


def test_the_arrows_move_as_photos_stand(page: Page) -> None:
    page.press("ArrowRight", "ArrowRight")
    assert page.chosen() == "tower 0.jpg"
    page.press("ArrowDown")
    assert page.chosen() == "castle.jpg"
    page.press("ArrowUp", "k", "j", "j")
    assert page.chosen() == "blue.jpg"
    page.press("End", "ArrowRight", "ArrowDown")
    assert page.chosen() == "white.jpg"
    page.press("Home")
    assert page.chosen() == "tower 1.jpg"
    page.press(" ")
    page.page.wait_for_selector("#light img[src]")
    page.press("ArrowRight", "Escape")
    assert not page.page.locator("#light").is_visible()
    assert page.chosen() == "tower 2.jpg"


def test_a_whole_group_is_one_step_and_undone_as_one(page: Page) -> None:
    page.press("x", "A")
    assert [what[:1] for what in page.stored().values()] == [
        ("rejected",),
        ("landmark",),
        ("landmark",),
    ]
    page.press("u")
    assert page.stored() == {"tower 1.jpg": ("rejected", "")}
    page.press("Control+z", "u")
    assert page.stored() == {}
    page.page.get_by_role("button", name="Accept all 3").click()
    assert len(page.stored()) == 3


def test_a_landmark_that_nobody_knows_is_named_by_hand(page: Page) -> None:
    page.press("o")
    page.page.keyboard.type("Our Tower")
    assert texts(page.page, "#names li") == ["New: Our Tower"]
    page.press("Enter")
    assert page.stored() == {"tower 1.jpg": ("landmark", "Our Tower")}
    page.press("o")
    page.page.keyboard.type("tower")
    names = texts(page.page, "#names li")
    assert {"Eiffel Tower", "Our Tower"} <= set(names)
    page.press("Escape", "a")
    assert page.stored()["tower 2.jpg"] == ("landmark", "Eiffel Tower")


def test_a_burst_is_decided_and_undone_as_one(browser: Browser, burst: ReviewConfig) -> None:
    page = Page(browser, burst)
    assert page.chosen() == "first.jpg"
    page.press("x")
    rejected = {"first.jpg": ("rejected", ""), "second.jpg": ("rejected", "")}
    assert (page.chosen(), page.stored()) == ("other.jpg", rejected)
    page.press("u")
    assert (page.chosen(), page.stored()) == ("first.jpg", {})
    page.close()


def test_steps_before_another_order_are_not_taken_back(page: Page) -> None:
    page.press("a")
    page.page.select_option("#order", "most_useful")
    page.page.wait_for_selector("h2:has-text('Most useful to correct')")
    page.press("u")
    assert page.stored() == {"tower 1.jpg": ("landmark", "Eiffel Tower")}


def test_what_is_not_stored_is_said_and_sent_again(page: Page) -> None:
    page.page.route("**/api/review", lambda route: route.abort())
    page.press("a", "a")
    page.page.wait_for_selector("#reason:has-text('does not answer')")
    page.page.unroute("**/api/review")
    page.page.get_by_role("button", name="Try again").click()
    assert set(page.stored()) == {"tower 1.jpg", "tower 2.jpg"}
    # Chromium tells the console of every failure.
    page.complaints.clear()


@pytest.mark.parametrize("width", [320, 390, 800, 1400])
def test_nothing_sticks_out_of_the_window(
    width: int, browser: Browser, config: ReviewConfig
) -> None:
    page = Page(browser, config, viewport={"width": width, "height": 800})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Accept", "Wrong", "No landmark", "Undo"):
        button = page.page.locator(".acts").get_by_role("button", name=name)
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 800
    page.page.locator("#accept").click()
    assert page.stored() == {"tower 1.jpg": ("landmark", "Eiffel Tower")}
    page.close()
    assert page.complaints == []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ReviewConfig:
    """5,000 photos: 2,000 of one landmark, 40 each of 50 others, 1,000 without a landmark."""
    root = tmp_path_factory.mktemp("many")
    answers = {}
    for number in range(5000):
        name = "Eiffel Tower" if number < 2000 else f"Tower {number % 50}"
        # What follows the picture makes each file another one.
        photo = drawn(number % 250, number // 250 * 10, 90, (32, 24)) + str(number).encode()
        found = made_up((name, 0.4 + number % 60 / 100), score=0.9 if number < 4000 else 0.1)
        answers[f"{number // 500}/{number:04}.jpg"] = (photo, found)
    write_tagged(root / "photos", root / "tags", answers)
    return ReviewConfig(out=str(root / "tags"), by="ann")


_SCROLL = """async () => {
  const slow = [];
  let last = performance.now();
  for (let step = 0; step < 150; step += 1) {
    scrollBy(0, 400);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    slow.push(now - last);
    last = now;
  }
  return slow.sort((one, other) => one - other);
}"""


def test_5000_photos_scroll_smoothly(browser: Browser, many: ReviewConfig) -> None:
    page = Page(browser, many, viewport={"width": 1300, "height": 900})
    assert texts(page.page, "#bar b") == ["5,000", "0", "5,000"]
    frames = page.page.evaluate(_SCROLL)
    # A frame of a loaded machine may take longer; 250 ms where cards change the layout of others.
    assert frames[len(frames) // 2] < 100
    page.page.wait_for_selector(".pick img[src]")
    assert page.page.locator(".pick img[src]").count() < 300
    page.press("End")
    page.page.wait_for_selector(".pick[aria-current] img[src]")
    assert page.page.evaluate("scrollY") > 50_000
    page.page.select_option("#jump", label="Eiffel Tower (2000)")
    page.press("A")
    page.page.wait_for_selector("#bar .kind:has-text('Reviewed 2,000')")
    assert len(page.stored()) == 2000
    page.close()
    assert page.complaints == []
