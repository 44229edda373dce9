"""Many photos on the page: sorted, filtered, saved, and judged again at another threshold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from landmark_ml.data.postcards import LANDMARKS
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from tests.browser import IN_A_BROWSER
from tests.colour_artifact import GREEN, RED, WHITE, gps_exif
from tests.serving.app.conftest import Versions
from tests.serving.app.visit import Visit, texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos from one colour to another, less and less sure, and a file that is none."""
    folder = tmp_path_factory.mktemp("mixed")
    paths: list[Path] = []
    for other in (GREEN, WHITE):
        for share in np.linspace(0, 1, 8):
            path = folder / f"{len(paths)}.png"
            colour = np.array(RED) * (1 - share) + np.array(other) * share
            exif = gps_exif(48, 3) if len(paths) % 3 == 0 else None
            Image.new("RGB", (40, 32), tuple(colour.astype(int))).save(path, exif=exif)
            paths.append(path)
    notes = folder / "notes, and more.jpg"
    notes.write_bytes(b"these are notes")
    return [*paths, notes]


def counts(visit: Visit) -> dict[str, int]:
    """How many photos the page says are of each kind."""
    said = [text.split() for text in texts(visit.page, "#kinds label")]
    return {kind: int(number) for kind, number in said}


def saved(visit: Visit, button: str) -> str:
    with visit.page.expect_download() as download:
        visit.page.click(button)
    return download.value.path().read_text(encoding="utf-8")


def slide(visit: Visit, threshold: float) -> None:
    visit.page.locator("#threshold").fill(str(threshold))
    visit.page.wait_for_selector(f"#limit:has-text('{round(100 * threshold)}%')")


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_the_page_judges_as_the_server_does(
    threshold: float, visit: Visit, address: str, mixed: list[Path]
) -> None:
    visit.give(*mixed)
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    slide(visit, threshold)
    shown = json.loads(saved(visit, "#json"))
    assert [url for url in asked if "/api/" in url] == []
    expected: list[dict[str, Any]] = []
    for path in mixed:
        ask = f"{address}/api/tag?threshold={threshold}"
        (answer,) = visit.page.request.post(ask, data=path.read_bytes()).json()["photos"]
        model = {"model": "landmarks/7", "threshold": pytest.approx(threshold)}
        expected.append({**answer, "name": path.name, **model})
    for answer in expected:
        answer.pop("attention")
    assert shown == expected
    # Both sides of the rule were met, and at 0 one of them alone.
    known = [answer["is_landmark"] for answer in expected[:-1]]
    assert all(known) == (threshold == 0)
    assert any(known)


def test_a_filter_shows_one_kind_and_saves_it(visit: Visit, mixed: list[Path]) -> None:
    visit.give(*mixed)
    found = counts(visit)
    assert found["All"] == len(mixed) == sum(found.values()) - found["All"]
    assert found["Error"] == 1
    assert min(found.values()) > 0
    for kind, number in found.items():
        visit.page.click(f"#kinds label:has([value={kind.lower()}])")
        visit.page.wait_for_selector(f"#count:has-text('{number} shown')")
        assert visit.page.locator(".card:visible").count() == number
        rows = list(csv.DictReader(io.StringIO(saved(visit, "#csv"))))
        assert len(rows) == number
        if kind == "Sure":
            assert all(float(row["confidence"]) >= 0.8 for row in rows)
            assert {row["tags"] for row in rows} <= {"tower;paris", "castle;island"}
        if kind == "Error":
            (refused,) = rows
            assert refused["name"] == "notes, and more.jpg"
            assert refused["error"] == "not_an_image"


def test_the_models_own_threshold_comes_back(visit: Visit, mixed: list[Path]) -> None:
    visit.give(*mixed)
    before = counts(visit)
    own = visit.page.get_by_role("button", name="Model's own 50%")
    assert not own.is_visible()
    slide(visit, 1)
    assert counts(visit)["None"] > before["None"]
    own.click()
    visit.page.wait_for_selector("#limit:has-text('50%')")
    assert counts(visit) == before


def test_one_map_shows_each_place_once(visit: Visit, photos: Path) -> None:
    visit.give(photos / "red.jpg", photos / "red.tiff", photos / "green.jpg", photos / "white.jpg")
    places = visit.page.locator("#map circle title")
    assert places.all_text_contents() == ["Eiffel Tower: 2 photos", "Château d'If: 1 photo"]
    assert visit.page.locator("#map").get_attribute("aria-label") == "Map with 2 places"
    visit.page.locator("#map circle.pin").last.click()
    assert texts(visit.page, ".card.open .landmark") == ["Château d'If"]


def test_what_is_under_one_percent_is_not_offered(visit: Visit, address: str, photos: Path) -> None:
    photo = (photos / "red.jpg").read_bytes()
    answer = visit.page.request.post(f"{address}/api/tag", data=photo).json()
    for candidate, confidence in zip(
        answer["photos"][0]["candidates"], (0.95, 0.041, 0.009), strict=True
    ):
        candidate["confidence"] = confidence
    visit.page.route("**/api/tag*", lambda route: route.fulfill(json=answer))
    visit.give(photos / "red.jpg")
    (other,) = texts(visit.page, ".others li")
    assert other.endswith("4.1%")


def test_the_landmarks_it_knows_are_listed_by_country(visit: Visit) -> None:
    visit.page.click("#known summary")
    visit.page.wait_for_selector("#countries li")
    assert texts(visit.page, "#countries h3") == ["Elsewhere", "France"]
    assert texts(visit.page, "#countries li") == ["Nowhere", "Château d'If", "Eiffel Tower Paris"]
    assert visit.page.locator("#known circle").count() == 2
    visit.page.fill("#search", "PARIS")
    assert texts(visit.page, "#countries li:visible") == ["Eiffel Tower Paris"]


def test_a_model_of_real_photos_offers_no_postcards(visit: Visit) -> None:
    visit.page.wait_for_selector("#model:has-text('version 7')")
    assert not visit.page.is_visible("#samples")


def test_a_model_of_postcards_offers_two(
    browser: Browser, serve: Callable[..., str], predictor: Predictor
) -> None:
    # The classes of the postcards; what the answers say does not matter here.
    metadata = replace(predictor.metadata, classes=LANDMARKS)
    known = Predictor(predictor.runtime, predictor.batch_runtime, metadata)
    visit = Visit(browser, serve(versions=Versions(Loaded(known, "landmarks", 7, "abc"))))
    visit.page.get_by_role("button", name="Try two drawn postcards").click()
    visit.answered()
    assert texts(visit.page, ".name") == ["postcard 1.jpg", "postcard 2.jpg"]
    assert counts(visit)["Error"] == 0
    visit.context.close()
