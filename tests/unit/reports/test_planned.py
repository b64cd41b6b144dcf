"""A planned search's page says what was chosen, and lists what was trained on the way."""

from __future__ import annotations

import re
from pathlib import Path

import morphogen
import tiny
from morphogen.engine.search.search import search
from morphogen.runs.directory import RunDirectory


def test_the_page_has_the_plan_and_every_training(tmp_path: Path) -> None:
    settings = tiny.changed(tiny.SETTINGS, epochs=1)
    found = search(
        tiny.config("successive-halving"),
        space=tiny.own(),
        data=tiny.images(),
        settings=settings,
        run=tmp_path / "run",
        time="20s",
    )
    page = morphogen.report(found.run, tmp_path / "page.html").path.read_text()
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    for sentence in RunDirectory(found.run).config()["plan"]:
        assert sentence in text
    trained = [row for row in found.history if "trained_accuracy" in row]
    assert trained
    section = text.split('id="trainings"')[1].split("</table>")[0]
    assert section.count("<tr") == len(trained) + 1
    assert all(row["trained"] in section for row in trained)
    assert "train_loss" in found.history[-1]  # of the network that is delivered
    assert "train loss (train part)" in page
    drawn = found.history[-1]["examples"]["pool"]
    words = re.sub(r"<[^>]*>", " ", page).split()
    assert f"images drawn, both parts together {drawn:,}" in " ".join(words)
