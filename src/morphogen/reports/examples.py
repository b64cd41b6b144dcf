"""What the trained network makes of a few examples, in pictures or in a table of texts."""

from __future__ import annotations

from morphogen.reports.html import Html, el, join, table
from morphogen.reports.run import Run


def examples(run: Run, level: int) -> Html | None:
    """The pictures of the run, one below the other, and what their colours stand for; or texts."""
    found = run.examples
    if not found:
        return None
    names = [
        el("li", {}, el("span", {"style": f"background:{one['colour']}"}), one["name"])
        for one in found["legend"]
    ]
    pictures = [
        el(
            "figure",
            {"class": "example"},
            el("img", {"src": f"data:image/png;base64,{one['png']}", "alt": one["caption"]}),
            el("figcaption", {}, one["caption"]),
        )
        for one in found["pictures"]
    ]
    legend = el("ul", {"class": "swatches"}, *names) if names else None
    texts = [table("Examples", found["head"], found["rows"])] if found.get("rows") else []
    return join([el("p", {}, found["text"]), *([legend] if legend else []), *pictures, *texts])
