"""What a search chose for its time, and which architectures it trained by themselves."""

from __future__ import annotations

from morphogen.core.text import figure
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.run import Run


def plan(run: Run, level: int) -> Html | None:
    """What was chosen to fit the data and the time, a sentence each."""
    sentences = run.config.get("plan", ())
    if not sentences:
        return None
    intro = f"Chosen for a search of {run.config.get('time')}, after a look at the data and a few "
    items = [el("li", {}, f"{sentence}.") for sentence in sentences]
    return join(
        [
            el("p", {}, f"{intro}steps to see how fast this machine is. All else was set by hand."),
            el("ul", {}, *items),
        ]
    )


def trainings(run: Run, level: int) -> Html | None:
    """Architectures that the search trained and measured one by one, in their order."""
    name = f"trained_{run.task.metric}"
    rows = [
        [str(row["trained"]), str(row.get("phase", "")), figure(float(row[name]), run.task.unit)]
        for row in run.metrics
        if "trained" in row and name in row
    ]
    if not rows:
        return None
    of = run.task.label
    title = f"Trainings of a single architecture, by {run.task.spelt} on search-validation "
    title += f"{run.task.examples}; those of one phase are equally long"
    return table(title, ["architecture", "phase", of], rows, shown=True, cards=True)
