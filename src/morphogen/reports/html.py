"""HTML and SVG that is escaped by construction: a plain string is text, only `Html` is markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape as _escape
from typing import Any

from morphogen.core.names import readable


def escaped(text: str) -> str:
    """Text for an attribute, or for XML: no markup, and no character that XML has not."""
    return _escape(readable(text))


class Html(str):
    """Markup that is safe as it stands: made by `el`, `join` or written in this package."""

    __slots__ = ()


Child = str | Html | None
VOID = {"meta", "line", "circle", "rect", "path", "polyline", "polygon", "br", "use", "img"}
"""Elements without content."""


def el(name: str, attributes: Mapping[str, Any] | None = None, *children: Child) -> Html:
    """One element; text children and attribute values are escaped, None is left out.

    Args:
        name: `p`, `svg`, ...
        attributes: name -> value; True is an attribute without a value, None and False are none.
        children: text, or markup that `el` made.
    """
    words = [name]
    for key, value in (attributes or {}).items():
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escaped(_text(value))}"')
    head = " ".join(words)
    if name in VOID:
        return Html(f"<{head}>" if name in ("meta", "br", "img") else f"<{head}/>")
    return Html(f"<{head}>{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Html:
    """The children one after the other, text among them escaped."""
    return Html(between.join(_child(c) for c in children if c is not None))


def table(
    caption: str,
    head: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    *,
    shown: bool = False,
    cards: bool = False,
) -> Html:
    """A table in a box that scrolls by itself, so that the page never does.

    Args:
        caption: what the table holds.
        head: titles of the columns.
        rows: cells; the first of a row is its heading.
        shown: whether the caption is seen, or only read out.
        cards: on a phone each row stands by itself, its cells one below the other with their
            titles, so that nothing is out of sight: for tables to be read rather than consulted.
    """
    titles = [{"data-head": h} if cards and h else {} for h in head]
    body = [
        el(
            "tr",
            {},
            el("th", {"scope": "row"}, row[0]),
            *(el("td", title, c) for title, c in zip(titles[1:], row[1:], strict=True)),
        )
        for row in rows
    ]
    return el(
        "div",
        {"class": "scroll", "role": "group", "tabindex": 0, "aria-label": caption},
        el(
            "table",
            {"class": "cards" if cards else None},
            el("caption", {"class": None if shown else "unseen"}, caption),
            el("thead", {}, el("tr", {}, *(el("th", {"scope": "col"}, h) for h in head))),
            el("tbody", {}, *body),
        ),
    )


def details(summary: str, *children: Child) -> Html:
    """Something to be unfolded."""
    return el("details", {}, el("summary", {}, summary), *children)


def as_json(value: Any) -> str:
    """Compact JSON, to stand in an attribute."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _child(child: str | Html) -> str:
    return child if isinstance(child, Html) else _escape(readable(child), quote=False)


def _text(value: Any) -> str:
    """Coordinates with one digit: a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
