"""A run as a notebook shows it: a card with the cell, the figures, the cost and the remarks."""

from __future__ import annotations

from importlib.resources import files

from morphogen.core import Architecture
from morphogen.reports.cells import choices_table, picture
from morphogen.reports.html import Html, el, join
from morphogen.reports.run import Run
from morphogen.reports.sections import facts
from morphogen.spaces import SearchSpace


def card(run: Run, space: SearchSpace | None = None, arch: Architecture | None = None) -> Html:
    """Markup that stands alone in any page: its style reaches nothing outside it.

    Args:
        run: what is shown.
        space: of the architecture, where it is at hand; by default what the run says of it.
        arch: likewise.
    """
    space, arch = space or run.space, arch or run.architecture
    drawn = None
    if arch is not None:
        drawn = picture(space, arch) if space else choices_table(arch)
    items = [el("div", {}, el("dt", {}, name), el("dd", {}, value)) for name, value in facts(run)]
    notes = [*run.faults, *map(str, run.result.get("remarks", ()))]
    return el(
        "div",
        {"class": "morphogen-card"},
        el("style", {}, Html((files("morphogen.reports") / "assets/card.css").read_text("utf-8"))),
        el("p", {"class": "title"}, run.title),
        el("dl", {}, *items),
        el("div", {"class": "drawing"}, drawn) if drawn else None,
        el("p", {}, el("code", {}, run.text)) if run.text else None,
        join(el("p", {"class": "note", "role": "note"}, f"{note}.") for note in notes),
        el("p", {"class": "where"}, "Run directory: ", el("code", {}, run.path)),
    )
