"""A visit of the page with a browser, for the tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WAIT_MS = 60_000


class Visit:
    """A page that notes what it should not do: ask others, complain in the console."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address)

    def _note(self, url: str, address: str) -> None:
        if not url.removeprefix("blob:").startswith(address):
            self.foreign.append(url)

    def give(self, *paths: Path) -> None:
        """Choose photos and wait for their answers."""
        self.page.set_input_files("#choose", [str(path) for path in paths])
        self.answered()

    def answered(self) -> None:
        """Wait for the answers of photos that were given."""
        self.page.wait_for_selector(".card", state="attached")
        self.page.wait_for_selector(".card[aria-busy]", state="detached")

    def open(self, name: str) -> Locator:
        """Open the card of a photo, if it is not open, and give it."""
        card = self.page.locator(".card", has_text=name)
        if card.locator(".face").get_attribute("aria-expanded") == "false":
            card.locator(".face").click()
        return card


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]
