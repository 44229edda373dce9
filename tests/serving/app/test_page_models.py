"""The page in a real browser while the model behind it becomes another, or better known."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tests.browser import IN_A_BROWSER
from tests.serving.app.visit import Visit, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Route

pytestmark = IN_A_BROWSER


def test_a_link_that_is_found_late_is_shown(
    browser: Browser, serve: Callable[..., str], photos: Path
) -> None:
    back = threading.Event()

    def run_url(_: str) -> str:
        back.wait(60)
        return "http://localhost/run"

    address = serve(run_url=run_url)
    visit = Visit(browser, address)
    visit.page.wait_for_selector("#model:has-text('version 7')")
    assert visit.page.locator("#model a").count() == 0
    back.set()
    while not visit.page.request.get(f"{address}/api/model").json()["run_url"]:
        time.sleep(0.02)
    visit.give(photos / "red.jpg")
    assert texts(visit.page, "#model a") == ["its run in MLflow"]
    visit.context.close()


def test_an_answer_keeps_what_its_own_model_saw(
    browser: Browser, serve: Callable[..., str], photos: Path
) -> None:
    visit = Visit(browser, serve())
    visit.give(photos / "red.jpg")
    before = _looked(visit)

    def answered_by_the_next(route: Route) -> None:
        # The browser hides the bytes of a file from whoever stands between.
        photo = (photos / "green.jpg").read_bytes()
        answer = route.fetch(post_data=photo).json()
        answer["model"] |= {"version": 8, "framing": "crop", "visible": 0.5}
        route.fulfill(json=answer)

    visit.page.route("**/api/tag*", answered_by_the_next)
    visit.give(photos / "green.jpg")
    visit.page.wait_for_selector("#model:has-text('version 8')")
    assert _looked(visit) == before
    visit.context.close()


def _looked(visit: Visit) -> str:
    """Where the map is laid over the photo of red.jpg, for which it is shown and hidden again."""
    card = visit.page.locator(".card", has_text="red.jpg")
    card.locator(".look").click()
    laid = card.locator("canvas.attention").get_attribute("style")
    card.locator(".look").click()
    return laid or ""
