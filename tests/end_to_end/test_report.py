"""The report as a person meets it: one file, opened in a browser, without a network."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

import pipeline


@pytest.fixture(scope="module")
def page(scored: Path) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("left out: no Chromium on this machine (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(offline=True)
        page = context.new_page()
        page.goto((scored / "report" / "index.html").as_uri())
        yield page
        browser.close()


def test_it_asks_the_network_for_nothing(scored: Path) -> None:
    text = (scored / "report" / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)


def test_every_picture_is_drawn(page: Page) -> None:
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) >= 6 + 3  # six plates, and wells of three conditions
    assert min(widths) > 50


def test_it_says_what_failed_and_why(page: Page) -> None:
    text = page.inner_text("body")
    assert "OrigRNA is missing" in text
    assert "it is damaged or cut short" in text
    assert "complete, with failures" in text


def test_it_shows_the_scores_of_every_condition(page: Page) -> None:
    text = page.inner_text("body")
    for modality in ("compound", "crispr", "orf"):
        assert f"{modality} U2OS short" in text


def test_its_links_lead_to_tables_that_are_there(page: Page, scored: Path) -> None:
    links = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    assert "../scores/detection.parquet" in links
    assert [link for link in links if not (scored / "report" / link).is_file()] == []


def test_the_lines_of_python_that_it_shows_are_right(scored: Path) -> None:
    text = html.unescape((scored / "report" / "index.html").read_text())
    lines = re.findall(r"<code>(pipeline\.\w+\(.*?\))</code>", text)
    assert [line.partition("(")[0] for line in lines] == [
        *("pipeline.open_cells", "pipeline.open_profiles", "pipeline.open_scores"),
    ]

    for line in lines:
        found = eval(re.sub(r'\("[^"]*"', f"({str(scored)!r}", line), {"pipeline": pipeline})
        assert len(found)


def test_nothing_is_wider_than_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 1100, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 1100


def test_a_print_cuts_nothing_off(page: Page) -> None:
    page.set_viewport_size({"width": 718, "height": 1047})  # A4 within its margins, at 96 dpi
    page.emulate_media(media="print")
    cut = page.eval_on_selector_all(
        "body *", "all => all.filter(e => e.getBoundingClientRect().right > 719).map(e => e.outerHTML.slice(0, 80))"
    )
    page.emulate_media(media="screen")
    assert cut == []
