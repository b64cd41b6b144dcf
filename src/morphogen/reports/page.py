"""The page: one file of HTML, its style and script in it, which asks the network for nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from morphogen.reports import compare
from morphogen.reports.heat import LEVELS, colours
from morphogen.reports.html import Html, el, join
from morphogen.reports.run import Run
from morphogen.reports.sections import sections, summary

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content security policy: the browser itself sees to it that nothing is fetched."""


def render(runs: Sequence[Run], version: str) -> str:
    """The report on one run, or a comparison of several with a section for each.

    Args:
        runs: at least one.
        version: of morphogen, for the foot of the page.
    """
    title = runs[0].title if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    if len(runs) == 1:
        parts = [(name, _slug(name), body) for name, body in sections(runs[0])]
        top = summary(runs[0])
    else:
        top = compare.summary(runs)
        parts = [(name, _slug(name), body) for name, body in compare.sections(runs)]
        for i, (name, run) in enumerate(zip(compare.run_titles(runs), runs, strict=True), 1):
            inner = [
                el("section", {}, el("h3", {}, head), body)
                for head, body in sections(run, 3, alone=False)
            ]
            said = el("p", {}, run.title)
            parts.append((name, f"run-{i}", join([said, summary(run), *inner])))
    foot = f"Made by morphogen {version} from run directories alone."
    return document(title, "Architecture search report", top, parts, foot)


def document(
    title: str, kicker: str, top: Html, parts: Sequence[tuple[str, str, Html]], foot: str
) -> str:
    """A page in the look of all pages.

    Args:
        title: its heading.
        kicker: what kind of page it is, above the heading.
        top: what comes before the sections.
        parts: name, anchor and content of each section.
        foot: the last line.
    """
    links = [el("li", {}, el("a", {"href": f"#{slug}"}, name)) for name, slug, _ in parts]
    body = [
        el("a", {"class": "skip", "href": "#main"}, "Skip to the report"),
        el(
            "header",
            {},
            el("p", {"class": "kicker"}, kicker),
            el("h1", {}, title),
            el(
                "button",
                {"id": "theme", "type": "button", "hidden": True},
                "Dark page",
            ),
        ),
        el("nav", {"aria-label": "Sections"}, el("ol", {}, *links)),
        el(
            "main",
            {"id": "main"},
            top,
            *(
                el("section", {"aria-labelledby": slug}, el("h2", {"id": slug}, name), inside)
                for name, slug, inside in parts
            ),
        ),
        el("footer", {}, el("p", {}, foot)),
        el("div", {"id": "tip", "role": "status", "aria-live": "polite"}),
        el("script", {}, Html(_asset("report.js"))),
    ]
    head = [
        el("meta", {"charset": "utf-8"}),
        el("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        el("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        el("meta", {"name": "color-scheme", "content": "light dark"}),
        el("title", {}, title),
        el("style", {}, Html(_asset("report.css") + _levels())),
    ]
    whole = el("html", {"lang": "en"}, el("head", {}, *head), el("body", {}, *body))
    return f"<!doctype html>\n{whole}\n"


def _levels() -> str:
    """The colours of the heat maps, for both themes."""
    scale = colours()
    light, dark = (
        ";".join(f"--q{i}:{colour}" for i, colour in enumerate(scale[name]))
        for name in ("light", "dark")
    )
    rules = "".join(f".q{i}{{fill:var(--q{i})}}" for i in range(LEVELS))
    return (
        f":root{{{light}}}:root[data-theme=dark]{{{dark}}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}{rules}"
    )


def _asset(name: str) -> str:
    return (files("morphogen.reports") / "assets" / name).read_text(encoding="utf-8")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
