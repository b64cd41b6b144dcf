"""A page of the package read again: its text, headings, tables and what it says at the pointer."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from morphogen.reports.page import render
from morphogen.reports.reading import read_run

VOID = {"meta", "line", "circle", "rect", "path", "polyline", "polygon", "br"}


class Page(HTMLParser):
    """A page as text, headings, tables and hover data; unbalanced elements are an error."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.cells: list[list[str]] = []
        self.hover: list[dict] = []
        self.labels: list[str] = []
        self.text = ""
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if given.get("data-hover"):
            self.hover.append(json.loads(str(given["data-hover"])))
        if tag == "svg":
            assert given.get("aria-label") or given.get("aria-hidden") == "true"
            self.labels.append(given.get("aria-label") or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] in ("script", "style"):
            return
        self.text += data
        if self.headings and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1] = (self.headings[-1][0], self.headings[-1][1] + data)
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


def page(*paths: Path) -> tuple[str, Page]:
    markup = render([read_run(path) for path in paths], "0.0")
    return markup, Page(markup)
