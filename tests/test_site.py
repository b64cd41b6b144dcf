"""The built pages, opened as files in a real browser, as somebody does who has no server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import chromium

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.started() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get("CI"):
        pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=240,
    )
    return folder


def opened(browser: Browser, page: Path, troubles: list[str], width: int = 1280) -> Page:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.on("console", lambda m: troubles.append(m.text))
    tab.on("pageerror", lambda e: troubles.append(str(e)))
    tab.on("request", lambda r: r.url.startswith("file:") or troubles.append(r.url))
    tab.goto(page.as_uri())
    return tab


def test_search_finds_a_page_without_a_server(browser: Browser, site: Path) -> None:
    troubles: list[str] = []
    tab = opened(browser, site / "index.html", troubles)
    tab.locator("input[name=query]").click()
    tab.keyboard.type("hypervolume", delay=20)
    found = tab.locator("a.md-search-result__link", has_text="Glossary").first
    found.wait_for(timeout=20_000)
    found.click()
    tab.wait_for_url("**/glossary.html*")
    assert tab.locator("h1").inner_text().startswith("Glossary")
    assert troubles == []
    tab.close()


def test_signatures_are_whole_and_pages_fit_a_phone(browser: Browser, site: Path) -> None:
    troubles: list[str] = []
    tab = opened(browser, site / "reference.html", troubles, width=400)
    signatures = tab.locator(".doc-signature code")
    assert signatures.count() > 200
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert signatures.evaluate_all(cut) == []
    longest = signatures.evaluate_all(
        "all => Math.max(...all.flatMap(e => e.innerText.split('\\n')).map(l => l.length))"
    )
    assert longest <= 88  # folded by their arguments, and not by the screen alone
    assert (
        "watcher: Callable" in tab.locator(".doc-signature", has_text="search(").first.inner_text()
    )
    for page in sorted(site.glob("*.html")):
        if page.stem == "404":  # of a server, which has it wherever something is missing
            continue
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400, page.name
    assert troubles == []
    tab.close()
