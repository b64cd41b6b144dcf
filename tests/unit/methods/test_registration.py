"""Registering a method: once, beside its class; by other packages, too."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from morphogen.cli import main
from morphogen.core import ConfigError, UnknownNameError, plugins
from morphogen.core.config import config
from morphogen.engine.search.presets import quick_preset
from morphogen.methods import _contract, find, method, methods
from morphogen.spaces import SearchSpace

HILL = '''\
"""Hill climbing, a method of another package.

Paper: nobody, 2026.

    1. the first architecture is random
    2. each further one is a neighbour of the best so far; stop when none of them is new
"""

from dataclasses import dataclass, field

from morphogen.core import Architecture
from morphogen.core.config import Count, config
from morphogen.evolution import Best
from morphogen.methods import method
from morphogen.spaces import Discrete


@config
class HillConfig:
    """Hill climbing."""

    tries: Count = 20
    """neighbours that are drawn before it gives up"""


@dataclass
class HillState:
    best: Best = field(default_factory=Best)
    seen: set = field(default_factory=set)


@method("hill", config=HillConfig, needs=[Discrete], epochs=1, quick={"tries": 7})
class Hill:
    def __init__(self, config):
        self.config = config

    def init(self, space):
        return HillState()

    def ask(self, state, space, count, rng):
        if state.best.architecture is None:
            return [space.sample(rng)]
        for _ in range(self.config.tries):
            arch = space.mutate(state.best.architecture, rng)
            if arch not in state.seen:
                return [arch]
        return []

    def tell(self, state, archs, scores):
        state.seen.update(archs)
        state.best.tell(archs, scores)

    def derive(self, state, space):
        return state.best.get()
'''

ENTRIES = """\
[morphogen.methods]
hill = their_hill
valley = their_valley
"""


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_contract, "_REGISTRY", dict(methods()))
    monkeypatch.setattr(plugins, "_SEEN", {})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch, registry) -> None:
    """A package as pip leaves it: two modules, one of them broken, and its entry points."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(ENTRIES)
    (site / "their_hill.py").write_text(HILL)
    (site / "their_valley.py").write_text("import nothing_of_that_name\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "their_hill", raising=False)


def test_a_method_of_another_package_is_listed_and_searches(installed, tmp_path, capsys):
    assert main(["list", "methods"]) == 0
    said, warned = capsys.readouterr()
    (line,) = [line for line in said.splitlines() if line.split()[:1] == ["hill"]]
    assert line.split(maxsplit=1)[1] == "Hill climbing, a method of another package. nobody, 2026."
    assert "theirs adds 'valley' to morphogen.methods and cannot be imported" in warned
    assert "'nothing_of_that_name'" in warned

    run = tmp_path / "run"
    words = ["search", "hill", "--evaluator", "table", "--evaluations", "12", "--run", str(run)]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["method"] == "hill"
    assert "tries: 7" in (run / "config.yaml").read_text()  # quick, as it is registered
    assert main(["search", "hill", "--help"]) == 0
    assert "neighbours that are drawn before it gives up" in capsys.readouterr().out


def test_what_cannot_be_imported_is_one_sentence_where_it_is_asked_for(installed, tmp_path, capsys):
    assert main(["search", "valley", "--run", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "theirs adds 'valley'" in said
    assert len(said.strip().splitlines()) == 1
    with pytest.raises(ConfigError, match="accepted: a version of it that can be imported"):
        find("valley")
    with pytest.raises(UnknownNameError, match="did you mean 'hill'"):
        find("hil")


@config
class Options:
    """Nothing to choose."""


@dataclass
class Half:
    """It cannot derive."""

    config: Options

    def init(self, problem):
        return None

    def step(self, state, problem, clock):
        return {}


def test_what_is_no_method_is_not_registered(registry):
    with pytest.raises(ConfigError, match="'half': Half lacks what a method has"):
        method("half", config=Options, needs=[], epochs=1)(Half)
    assert "half" not in methods()


class Whole(Half):
    """A method of a notebook, without a paper."""

    def derive(self, state, space: SearchSpace):
        return None


def test_a_name_is_registered_once_and_a_notebooks_cell_runs_twice(registry):
    enter = method("whole", config=Options, needs=[], epochs=1)
    enter(Whole)
    enter(Whole)
    info = find("whole")
    assert (info.paper, info.reference) == ("A method of a notebook, without a paper", "")
    with pytest.raises(ConfigError, match="'darts' is registered twice, by "):
        method("darts", config=Options, needs=[], epochs=1)(Whole)
    Whole.__doc__, before = None, Whole.__doc__
    try:
        with pytest.raises(ConfigError, match="'bare' has no docstring"):
            method("bare", config=Options, needs=[], epochs=1)(Whole)
    finally:
        Whole.__doc__ = before


def test_kinds_are_what_the_class_has():
    kinds = {name: (i.black_box, i.staged, i.relaxing) for name, i in methods().items()}
    assert {name for name, kind in kinds.items() if kind == (True, True, False)} == {"dc-nas"}
    assert {name for name, kind in kinds.items() if kind[2]} == {
        "darts",
        "darts-prime",
        "dartsformer",
        "gdas",
        "idarts",
        "rl-darts",
        "sd-darts",
        "single-stage",
        "snas",
        "unas",
    }
    stepwise = {
        "darts",
        "darts-prime",
        "darts-pt",
        "dartsformer",
        "few-shot",
        "gdas",
        "gm-nas",
        "gold-nas",
        "idarts",
        "nevonas",
        "pevonas",
        "rl-darts",
        "sd-darts",
        "single-stage",
        "snas",
        "spos",
        "successive-halving",
        "supernet-shifting",
        "unas",
        "zero-cost-pt",
    }
    assert {name for name, kind in kinds.items() if not kind[0]} == stepwise


def test_a_number_of_a_preset_that_the_configuration_has_not_is_named(registry):
    method("whole", config=Options, needs=[], epochs=1, quick={"rats.lr": 1})(Whole)
    with pytest.raises(UnknownNameError, match=r"unknown field of Options 'rats\.lr'"):
        quick_preset("whole")
