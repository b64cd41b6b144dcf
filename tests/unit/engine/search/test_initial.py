"""What a black-box method begins with when it has few evaluations."""

from __future__ import annotations

import pytest

from morphogen.core import ConfigError
from morphogen.engine.judge.compare import compare
from morphogen.engine.judge.trials import Trial, run_trial
from morphogen.engine.search.initial import fit_initial
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.methods import find, methods
from morphogen.methods.aging_evolution import AgingEvolutionConfig
from morphogen.methods.random import RandomSearchConfig
from morphogen.runs.directory import RunDirectory


@pytest.mark.parametrize(
    ("evaluations", "population", "sample"),
    [(1, 2, 2), (10, 5, 2), (50, 25, 7), (199, 99, 25), (200, 100, 25), (1000, 100, 25)],
)
def test_half_of_the_evaluations_at_most_are_random(evaluations, population, sample):
    config, remarks = fit_initial(find("aging-evolution"), AgingEvolutionConfig(), evaluations)
    assert (config.population, config.sample) == (population, sample)
    assert bool(remarks) == (population < 100)
    assert all(f"population is {population}, not 100" in remark for remark in remarks)
    assert all(("sample is" in remark) == (sample < 25) for remark in remarks)


def test_what_the_user_chose_is_kept_or_refused():
    info, own = find("aging-evolution"), AgingEvolutionConfig(population=49, sample=49)
    assert fit_initial(info, own, 50) == (own, ())
    with pytest.raises(ConfigError, match=r"population is 49, .* accepted: at most 48, or more"):
        fit_initial(info, own, 49)
    scaled, _ = fit_initial(info, AgingEvolutionConfig(sample=20), 50)
    assert (scaled.population, scaled.sample) == (25, 20)


def test_every_initial_sample_is_a_field_of_its_method():
    named = {info.name: info.initial for info in methods().values() if info.initial}
    assert {"aging-evolution", "nsga2", "weaknas", "bananas", "local-search"} <= set(named)
    for name, field in named.items():
        assert isinstance(getattr(find(name).config(), field), int), name


@pytest.mark.parametrize("budget", [10, 50])
def test_evolution_parts_from_random_search_after_its_population(budget):
    config, _ = fit_initial(find("aging-evolution"), AgingEvolutionConfig(), budget)
    random, evolution = (
        run_trial(Trial(name, own, "nasbench201", "", seed=0, budget=budget)).rows.tolist()
        for name, own in (("random", RandomSearchConfig()), ("aging-evolution", config))
    )
    half = budget // 2
    assert evolution[:half] == random[:half]  # one stream of draws
    assert len(evolution) == budget
    assert not set(evolution[half:]) & set(random[half:])


def test_a_search_and_a_comparison_say_what_they_scaled(tmp_path):
    settings = Settings(evaluation={"evaluator": "table", "budget": 10})
    result = search("aging-evolution", settings=settings, run=tmp_path / "run")
    remark = "population is 5, not 100 and sample is 2, not 25"
    assert any(remark in said for said in result.remarks)
    assert RunDirectory(tmp_path / "run").config()["config"]["population"] == 5
    found = compare(["random", "aging-evolution"], seeds=1, budget=10, workers=1)
    assert [said for said in found.content["remarks"] if remark in said]
    assert len(found.content["remarks"]) == 1
    with pytest.raises(ConfigError, match="population is 60"):
        compare("aging-evolution:population=60", seeds=1, budget=50, workers=1)
