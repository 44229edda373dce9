"""The HTML report stands alone, hides nothing and trusts no name."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from PIL import Image

from landmark_ml.reports.comparison import compare_runs, comparison_table
from landmark_ml.reports.comparison_page import best_values, render_report
from landmark_ml.tracking.read_runs import LeftOut
from tests.synthetic_runs import make_run

GOOD = [True] * 38 + [False] * 2
FAIR = [True] * 18 + [False] * 22
HOSTILE = '<script>alert("x")</script> $5 & {{ 7 }}'
CELLS = {"th", "td"}
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags with attributes, headings and all text of a page; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " * (tag in CELLS)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@pytest.fixture(scope="module")
def page() -> Page:
    runs = [make_run("good", GOOD), make_run(HOSTILE, FAIR)]
    left_out = [LeftOut("strange <i>", "id7", "judged on other test photos")]
    made = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return Page(render_report(compare_runs("landmarks", runs, left_out), made))


def test_the_page_fetches_nothing(page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "a"} & {tag for tag, _ in page.tags}
    sources = [value for _, attributes in page.tags for value in (attributes.get("src"),) if value]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert "http" not in page.text
    policies = [attributes.get("content") or "" for tag, attributes in page.tags if tag == "meta"]
    assert any("default-src 'none'" in policy for policy in policies)


def test_names_are_text_not_markup(page: Page) -> None:
    assert HOSTILE in page.text
    assert "strange <i>" in page.text


def test_the_page_says_what_was_compared_and_what_was_not(page: Page) -> None:
    said = " ".join(page.text.split())
    assert "Comparison of 2 runs in “landmarks”" in said
    assert "same 40 test photos of landmarks (test_digest d1). Made 2026-01-02 03:04 UTC" in said
    assert "#1 good beats #2" in said
    assert "0.950 0.850 to 1.050" in said
    assert "(id7): judged on other test photos" in said
    assert "Photos that only #1 recognises, only #2 20, 0" in said
    assert "p = 1.9e-06" in said


def test_the_figures_are_pictures_with_words(page: Page) -> None:
    images = page.images()
    assert len(images) == 4
    for image in images:
        data = (image["src"] or "").removeprefix("data:image/png;base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert picture.width > 1000
    alternatives = [image["alt"] or "" for image in images]
    assert alternatives[0].startswith("On the Pareto front")
    assert alternatives[2].startswith("#1 is ahead in 100.0% of resamples: +0.500 top-1")
    assert alternatives[3].startswith("#1 wins 2 landmarks")


def test_both_colour_schemes_are_styled(page: Page) -> None:
    assert "prefers-color-scheme: dark" in page.text


def test_one_run_is_shown_without_a_pair() -> None:
    page = Page(render_report(compare_runs("landmarks", [make_run("alone", GOOD)])))
    assert "there is nothing to compare it with" in page.text
    assert len(page.images()) == 2
    assert "The best two" not in page.text
    assert "Left out" not in page.headings


def test_the_best_value_of_a_column_is_marked_where_runs_differ() -> None:
    cheap = make_run("cheap", FAIR, macs=1e6)
    best = best_values(comparison_table(compare_runs("x", [cheap, make_run("good", GOOD)])))
    assert best["top-1"] == [True, False]
    assert best["MACs"] == [False, True]
    assert best["parameters"] == [False, False]
