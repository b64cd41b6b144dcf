"""The page in a real browser: it draws, answers pointer and keys, has two themes, fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

import chromium
import run_directories as made
from morphogen.reports.page import render
from morphogen.reports.reading import read_run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.started() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports on a search, on one in the DARTS space, and on two that are compared."""
    root = tmp_path_factory.mktemp("pages")
    two = [made.search(root / "a", found=made.CONV), made.search(root / "b", "darts")]
    runs = {"one": two[:1], "darts": [made.darts(root / "space")], "two": two}
    out = {}
    for name, paths in runs.items():
        out[name] = root / f"{name}.html"
        out[name].write_text(render([read_run(p) for p in paths], "0.0"), encoding="utf-8")
    return out


@pytest.fixture
def troubles() -> list[str]:
    """Errors of the console, and requests that are none of the page itself."""
    return []


def opened(browser: Browser, page: Path, troubles: list[str], **options: Any) -> Tab:
    tab = browser.new_page(**options)
    tab.on("console", lambda m: troubles.append(m.text))
    tab.on("pageerror", lambda e: troubles.append(str(e)))
    tab.on("request", lambda r: r.url == page.as_uri() or troubles.append(r.url))
    tab.goto(page.as_uri())
    return tab


def tip(tab: Tab) -> str:
    return tab.locator("#tip.on").inner_text()


def test_pointer_and_keys_read_values(
    browser: Browser, pages: dict[str, Path], troubles: list[str]
) -> None:
    tab = opened(browser, pages["one"], troubles, viewport={"width": 1200, "height": 900})
    loss = tab.locator("figure", has_text="Cross entropy").locator("svg.chart")
    assert loss.locator("polyline.line").count() == 2
    box = loss.bounding_box()
    assert box is not None
    assert box["height"] > 200
    loss.scroll_into_view_if_needed()
    loss.hover(position={"x": box["width"] - 10, "y": box["height"] / 2})
    assert tip(tab) == (
        "epoch 6\ntrain loss (train part): 0.3333\nvalid loss (search-validation part): 0.3667"
    )
    loss.focus()
    tab.keyboard.press("Home")
    assert tip(tab).startswith("epoch 1\ntrain loss (train part): 2\n")
    tab.keyboard.press("ArrowRight")
    assert tip(tab).startswith("epoch 2\n")
    tab.keyboard.press("Escape")
    assert tab.locator("#tip.on").count() == 0

    tab.mouse.move(0, 0)
    heat = tab.locator("svg.small").first
    heat.focus()
    tab.keyboard.press("End")
    assert tip(tab).startswith("epoch 6, none\ngate 0.")
    tab.keyboard.press("ArrowUp")
    assert tip(tab).startswith("epoch 6, avg_pool_3x3\ngate 0.")
    assert "alpha 1.2" in tip(tab)

    cloud = tab.locator("svg.chart", has=tab.locator(".cloud"))
    cloud.focus()
    tab.keyboard.press("End")
    assert made.CONV in tip(tab)
    # A point far from every mark: the middle of the cloud.
    box = cloud.bounding_box()
    assert box is not None
    at = cloud.evaluate(
        "s => { const p = s.querySelector('.cloud').getAttribute('d').split('M');"
        "const q = p[Math.floor(p.length / 3)].split('h')[0].split(' ').map(Number);"
        "return q.map(v => v * s.getBoundingClientRect().width / s.viewBox.baseVal.width); }"
    )
    cloud.hover(position={"x": at[0], "y": at[1]})
    assert tip(tab).startswith("one of the table\nvalidation accuracy in %: about ")
    tab.close()
    assert troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system_until_it_is_chosen(
    browser: Browser, pages: dict[str, Path], troubles: list[str], scheme: Any
) -> None:
    tab = opened(browser, pages["one"], troubles, color_scheme=scheme)

    def paper() -> str:
        return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    colours = {"light": "rgb(252, 251, 248)", "dark": "rgb(21, 24, 27)"}
    other = {"light": "dark", "dark": "light"}[scheme]
    assert paper() == colours[scheme]
    button = tab.locator("#theme")
    assert button.inner_text() == f"{other.capitalize()} page"
    button.click()
    assert paper() == colours[other]
    button.press("Enter")
    assert paper() == colours[scheme]
    tab.close()
    assert troubles == []


@pytest.mark.parametrize("name", ["one", "darts", "two"])
def test_a_phone_scrolls_in_one_direction(
    browser: Browser, pages: dict[str, Path], troubles: list[str], name: str
) -> None:
    tab = opened(browser, pages[name], troubles, viewport={"width": 360, "height": 740})
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    smallest = tab.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.chart text')].map(t =>"
        "t.getBoundingClientRect().height))"
    )
    assert smallest >= 10
    tab.close()
    assert troubles == []


CUT = (
    "[...document.querySelectorAll('.scroll')].filter(box => box.querySelector('{}') &&"
    "box.clientWidth && box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel)"
)
"""Names of tables that stick out of their boxes."""


def test_nothing_to_be_read_is_cut_off(
    browser: Browser, pages: dict[str, Path], troubles: list[str]
) -> None:
    """On a phone each row is a card with titles; on paper every table is whole."""
    tab = opened(browser, pages["two"], troubles, viewport={"width": 390, "height": 800})
    assert tab.evaluate(CUT.format("table.cards")) == []
    title = "getComputedStyle(document.querySelector('.cards td'), '::before').content"
    assert "seeds" in tab.evaluate(title)
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 718, "height": 1000})  # A4
    assert tab.evaluate(CUT.format("table")) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 718
    tab.close()
    assert troubles == []


@pytest.mark.parametrize(("name", "scheme"), [("one", "light"), ("two", "dark")])
def test_axe_finds_nothing(
    browser: Browser, pages: dict[str, Path], troubles: list[str], name: str, scheme: Any
) -> None:
    tab = opened(browser, pages[name], troubles, color_scheme=scheme)
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    tab.close()


def test_the_page_reads_without_scripts(
    browser: Browser, pages: dict[str, Path], troubles: list[str]
) -> None:
    tab = opened(browser, pages["one"], troubles, java_script_enabled=False)
    assert tab.locator("svg.chart polyline.line").count() >= 6
    assert tab.locator("#theme").is_hidden()
    tab.close()
    assert troubles == []
