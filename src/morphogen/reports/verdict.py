"""The first sentence of a page: whether the search has paid."""

from __future__ import annotations

from morphogen.reports.html import Html, el, join
from morphogen.reports.run import Run


def verdict(run: Run) -> Html | None:
    """What a comparison with the reference has shown, or that there was none.

    Nothing of a run that is not finished, or of a training that was not to be compared.
    """
    if run.state != "finished" or (run.training and run.comparison is None):
        return None
    if run.comparison is None:
        command, does = run.to_compare
        return join(
            [
                el("p", {"class": "verdict"}, f"{run.uncompared}."),
                el("p", {}, el("code", {}, command), f" {does}."),
            ]
        )
    first, *others = (_sentence(v.sentence) for v in run.comparison.verdicts)
    where = run.comparison.training
    told = " ".join([*others, f"By {run.comparison.metric}, trained from scratch by one recipe"])
    inside = () if where == "." else (", in the run directory ", el("code", {}, where))
    return join([el("p", {"class": "verdict"}, first), el("p", {}, told, *inside, ".")])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
