"""The page of a server that asks for a token, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import IN_A_BROWSER
from tests.serving.app.visit import Visit, texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    return serve("sesame")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    made = Visit(browser, address)
    made.page.wait_for_selector("#sign-in")
    yield made
    made.context.close()


def sign_in(visit: Visit, token: str) -> None:
    visit.page.fill("#token", token)
    visit.page.click("#sign-in button")


def test_a_token_is_asked_for(visit: Visit, photos: Path) -> None:
    assert visit.page.inner_text("#refused") == ""
    sign_in(visit, " sesame ")
    visit.page.wait_for_selector("#model:has-text('version 7')")
    assert not visit.page.is_visible("#sign-in")
    visit.give(photos / "red.jpg")
    assert texts(visit.page, ".landmark") == ["Eiffel Tower"]


@pytest.mark.parametrize("wrong", ["other", "sésame", "芝麻", "ses ame", " "])
def test_a_wrong_token_is_reported(wrong: str, visit: Visit) -> None:
    sign_in(visit, wrong)
    refused = visit.page.get_by_role("alert")
    visit.page.wait_for_selector("#refused:has-text('This token was not accepted.')")
    assert refused.is_visible()
    assert visit.page.inner_text("#model") == ""
    sign_in(visit, "sesame")
    visit.page.wait_for_selector("#model:has-text('version 7')")
    assert not refused.is_visible()


def test_photos_wait_for_another_token(visit: Visit, photos: Path) -> None:
    sign_in(visit, "sesame")
    visit.page.wait_for_selector("#model:has-text('version 7')")
    # As from a server that was started again with another token.
    visit.page.route("**/api/tag*", lambda route: route.fulfill(status=401, json={}), times=1)
    visit.page.set_input_files("#choose", [str(photos / "red.jpg")])
    visit.page.wait_for_selector("#sign-in")
    assert visit.page.inner_text("#model") == ""
    sign_in(visit, "sesame")
    visit.page.wait_for_selector("#model:has-text('version 7')")
    visit.answered()
    assert texts(visit.page, ".landmark") == ["Eiffel Tower"]


def test_photos_wait_for_the_first_token(visit: Visit, photos: Path) -> None:
    given = [str(photos / name) for name in ("red.jpg", "green.jpg", "notes.jpg")]
    visit.page.set_input_files("#choose", given)
    visit.page.wait_for_selector("#progress:has-text('3 waiting')")
    sign_in(visit, "sesame")
    visit.answered()
    visit.page.wait_for_selector("#progress:has-text('2 answered, 1 could not be read')")


def test_a_photo_refused_before_the_token_was_given_is_sent_again(
    visit: Visit, photos: Path
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    visit.page.route("**/api/tag*", hold, times=1)
    with visit.page.expect_request("**/api/tag*"):
        visit.page.set_input_files("#choose", [str(photos / "red.jpg")])
    sign_in(visit, "sesame")
    visit.page.wait_for_selector("#model:has-text('version 7')")
    held[0].continue_()
    visit.page.wait_for_selector(".landmark:has-text('Eiffel Tower')")
    assert not visit.page.is_visible("#sign-in")
    assert "version 7" in visit.page.inner_text("#model")
