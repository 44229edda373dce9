"""The buttons of the page that copy tags, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.browser import IN_A_BROWSER
from tests.serving.app.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER


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
