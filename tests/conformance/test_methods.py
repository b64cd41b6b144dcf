"""What every method keeps by being registered: the list is `morphogen.methods.methods()`."""

from __future__ import annotations

import copy
import random
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import annotated_types
import numpy as np
import pytest
import torch
import yaml
from pydantic import TypeAdapter

import tiny
from morphogen.core import CapabilityError, ConfigError, DataError, UnknownNameError
from morphogen.core.config import from_mapping, to_mapping
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import timetable
from morphogen.engine.train.training import Training
from morphogen.methods import find, methods
from morphogen.runs import checkpoint
from morphogen.spaces import make
from morphogen.supernets import space_of
from morphogen.tasks.classification import ImageTask

NAMES = list(methods())
STEPWISE = [name for name, info in methods().items() if not info.black_box]
TRAINING = [name for name in STEPWISE if hasattr(find(name).config(), "weights")]
GAPS = [name for name in STEPWISE if hasattr(find(name).build, "gates")]
GRADIENT = [name for name in STEPWISE if hasattr(find(name).config(), "alpha")]


def run(method: str, path: Path, **changes: Any) -> SearchResult:
    """A search of the method with a user's own module."""
    watcher = changes.pop("watcher", tiny.Told)
    module = changes.pop("space", None) or tiny.own()
    return search(
        tiny.config(method),
        space=module,
        data=tiny.images(),
        settings=tiny.changed(tiny.SETTINGS, **changes),
        run=path,
        watcher=watcher,
    )


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SearchResult]:
    """One uninterrupted run of every method."""
    root = tmp_path_factory.mktemp("references")
    return {name: run(name, root / name) for name in NAMES}


def everywhere(cls: type) -> list[tuple[tuple[str, ...], Any]]:
    """(path, pydantic's field) of each field of a configuration, those of nested ones included."""
    found = []
    for name, field in cls.__pydantic_fields__.items():
        if is_dataclass(field.annotation):
            found += [((name, *path), f) for path, f in everywhere(field.annotation)]
        else:
            found.append(((name,), field))
    return found


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """{"weights": {"lr": value}} of ("weights", "lr")."""
    for name in reversed(path):
        value = {name: value}
    return value


CONFIGS = {
    **{name: info.config for name, info in methods().items()},
    "settings": Settings,
    "training": Training,
}
FIELDS = [(name, path) for name, cls in CONFIGS.items() for path, _ in everywhere(cls)]
ENDS = annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt
BOUNDED = [
    (name, path, bound)
    for name, cls in CONFIGS.items()
    for path, field in everywhere(cls)
    for bound in field.metadata
    if isinstance(bound, ENDS)
]


# -- randomness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_bits_whatever_was_drawn_before(name, references, tmp_path):
    torch.manual_seed(99)
    np.random.seed(98)  # noqa: NPY002
    random.seed(97)
    torch.rand(7)
    again = run(name, tmp_path / "again")
    assert again.text == references[name].text
    tiny.assert_same_run(again.run, references[name].run)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_another_search(name, references, tmp_path):
    other = run(name, tmp_path / "other", seed=1)
    ours, theirs = tiny.metrics(references[name].run), tiny.metrics(other.run)
    if name in STEPWISE:
        assert ours[0] != theirs[0]
    if name in TRAINING:
        weights = [tiny.state(r.run)["state"]["net"] for r in (references[name], other)]
        assert not any(
            torch.equal(a, weights[1][k]) for k, a in weights[0].items() if k.endswith("weight")
        )
    elif name not in STEPWISE:
        assert [r["candidate"] for r in ours] != [r["candidate"] for r in theirs]


@pytest.mark.parametrize("name", NAMES)
def test_a_search_leaves_the_global_generators_and_threads_alone(name, tmp_path):
    threads = 2 if name not in STEPWISE else 1  # two are slow where others compute, too

    def surroundings() -> tuple[Any, ...]:
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return torch.get_rng_state().tolist(), numpy, random.getstate(), torch.get_num_threads()

    before = surroundings()
    run(name, tmp_path / "run", epochs=1, evaluations=1, threads=threads)
    assert surroundings() == before


@pytest.mark.parametrize("name", STEPWISE)
def test_what_is_measured_moves_no_stream_of_a_search(name, tmp_path):
    ends = []
    for measured in (40, 0):  # images of the diagnostics
        result = run(
            name, tmp_path / f"{measured}", space=tiny.drawing(), diagnostic_images=measured
        )
        assert ("recalibrated_loss" in result.history[-1]) == (measured > 0 and name in GAPS)
        content = tiny.state(result.run)
        ends.append({part: content[part] for part in ("state", "problem", "torch_rng")})
    for part, end in ends[0].items():
        assert tiny.same(end, ends[1][part]), f"{part} differs with diagnostics"


@pytest.mark.parametrize("name", [*STEPWISE, "random", "dc-nas"])
def test_a_search_whose_layers_draw_ends_in_the_same_bits(name, tmp_path):
    torch.manual_seed(99)
    first = run(name, tmp_path / "first", space=tiny.drawing(), epochs=2)
    torch.rand(7)
    with pytest.raises(KeyboardInterrupt):
        run(
            name,
            tmp_path / "second",
            space=tiny.drawing(),
            epochs=2,
            watcher=tiny.Stop(epochs=1),
        )
    again = resume(tmp_path / "second", space=tiny.drawing(), data=tiny.images())
    assert again.text == first.text
    tiny.assert_same_run(again.run, first.run)


# -- interruption ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("stop", "finished"),
    [
        ({"steps": 1}, 0),  # in the first epoch, before any checkpoint
        ({"epochs": 1}, 1),
        ({"steps": 3}, 1),  # in mid-epoch
        ({"epochs": 3}, 3),  # after the last epoch, before the result
    ],
    ids=["first-step", "epoch", "mid-epoch", "last-epoch"],
)
def test_resume_equals_an_uninterrupted_run(name, stop, finished, references, tmp_path):
    if name not in STEPWISE:  # a round is one step
        finished = {1: 0, 3: 2}.get(stop.get("steps", 0), finished)
    elif name not in TRAINING:  # as long as there are choices, three
        finished = {1: 0, 3: 0}.get(stop.get("steps", 0), finished)
    with pytest.raises(KeyboardInterrupt):
        run(name, tmp_path / "run", watcher=tiny.Stop(**stop))
    assert not (tmp_path / "run" / "result.json").exists()
    told = tiny.Told()
    result = resume(tmp_path / "run", space=tiny.own(), data=tiny.images(), watcher=told)
    assert told.finished == finished
    assert told.notices == []
    assert result.architecture == references[name].architecture
    assert tiny.timeless(result.history) == tiny.timeless(references[name].history)
    tiny.assert_same_run(result.run, references[name].run)


@pytest.mark.parametrize("name", NAMES)
def test_resuming_a_finished_run_returns_its_result_and_changes_no_file(name, references):
    reference = references[name]
    before = {p.name: p.read_bytes() for p in reference.run.iterdir()}
    told = tiny.Told()
    again = resume(reference.run, space=tiny.own(), data=tiny.images(), watcher=told)
    assert again == replace(reference, history=again.history)
    assert again.history == reference.history
    assert told.finished is None  # nothing was started
    assert {p.name: p.read_bytes() for p in reference.run.iterdir()} == before


# -- what a method must not touch ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_space_and_users_module_are_unchanged(name, tmp_path):
    module = tiny.own()
    module.stem.eval()
    space = space_of(module)
    weights = copy.deepcopy(module.state_dict())
    modes = [m.training for m in module.modules()]
    choices, masks = space.choices, {g: m.copy() for g, m in space.masks.items()}
    for given in (module, space):
        run(name, tmp_path / type(given).__name__, space=given, epochs=1, evaluations=1)
    assert tiny.same(dict(module.state_dict()), dict(weights))
    assert [m.training for m in module.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert space.choices == choices
    assert all(np.array_equal(space.masks[g], m) for g, m in masks.items())
    assert space.module is module


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_of_the_users_module_stay(name, tmp_path):
    module = tiny.own()
    module.stem.requires_grad_(False)
    result = run(name, tmp_path / "run", space=module, epochs=1, evaluations=1)
    if name in STEPWISE:
        net = tiny.state(result.run)["state"]["net"]
        assert torch.equal(net["module.stem.0.weight"], module.stem[0].weight)
    if name in TRAINING:
        assert not torch.equal(net["module.down.0.weight"], module.down[0].weight)


@pytest.mark.parametrize("name", NAMES)
def test_the_test_part_is_never_opened_and_cannot_be(name, tmp_path, monkeypatch):
    tasks: list[ImageTask] = []
    make_task = ImageTask.of.__func__

    def with_test(cls: type, *args: Any, **kwargs: Any) -> ImageTask:
        tasks.append(make_task(cls, *args, test=tiny.images(), **kwargs))
        return tasks[-1]

    monkeypatch.setattr(ImageTask, "of", classmethod(with_test))

    class Peeps(tiny.Told):
        def stepped(self, clock: Any) -> None:
            with pytest.raises(DataError, match="closed during the search"):
                tasks[-1].open_test("to cheat")
            self.notices.append("tried")

    peeps = Peeps()
    run(name, tmp_path / "run", epochs=1, evaluations=1, watcher=peeps)
    assert peeps.notices
    assert tasks
    assert all(task.has_test and task.test_openings == () for task in tasks)


@pytest.mark.parametrize("name", GRADIENT)
def test_each_optimiser_holds_its_own_and_every_alpha_and_weight_learns(name):
    """Without decay, so that nothing moves but by a gradient."""
    chosen = tiny.config(name)
    chosen = replace(
        chosen,
        alpha=replace(chosen.alpha, weight_decay=0.0),
        weights=replace(chosen.weights, weight_decay=0.0),
    )
    space = space_of(tiny.own())
    problem = tiny.problem(space)
    method = find(name).build(chosen)
    state = method.init(problem)

    def held(optimiser: torch.optim.Optimizer) -> set[int]:
        return {id(p) for g in optimiser.param_groups for p in g["params"]}

    assert held(state.alpha_optimiser) == {id(a) for a in state.alphas}
    assert held(state.weight_optimiser) == {id(p) for p in state.net.parameters()}
    assert not held(state.alpha_optimiser) & held(state.weight_optimiser)
    start = copy.deepcopy((state.alphas, list(state.net.parameters())))
    clock = timetable(method, problem, 1, 12)[0]
    for step in range(12):
        method.step(state, problem, replace(clock, step=step))
    assert len(state.alphas) == len(space.groups)
    for before, after in zip(start[0], state.alphas, strict=True):
        assert (before != after).all()
        assert after.grad is None
    for before, after in zip(start[1], state.net.parameters(), strict=True):
        assert (before != after).any()
        assert after.grad is None


@pytest.mark.parametrize("name", STEPWISE)
def test_a_step_uses_only_the_problems_streams(name):
    """Two states stepped in turn, with noise drawn in between, do what each does alone."""
    space = space_of(tiny.own())
    method = find(name).build(tiny.config(name))

    def alone() -> dict[str, Any]:
        problem = tiny.problem(space)
        clock = timetable(method, problem, 1, 2)[0]
        state = method.init(problem)
        for step in range(2):
            method.step(state, problem, replace(clock, step=step))
        return checkpoint.capture(state)

    problems = [tiny.problem(space), tiny.problem(space, seed=9)]
    clock = timetable(method, problems[0], 1, 2)[0]
    states = [method.init(p) for p in problems]
    for step in range(2):
        for state, problem in zip(states, problems, strict=True):
            torch.rand(3)
            method.step(state, problem, replace(clock, step=step))
    assert tiny.same(checkpoint.capture(states[0]), alone())


# -- configurations --------------------------------------------------------------------------------


def other(cls: type) -> dict[str, Any]:
    """A value other than the default for every field of a configuration."""

    def change(field: Any) -> Any:
        value, kind = field.default, field.annotation
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        if isinstance(value, float):
            return value / 2 or 0.5
        if isinstance(value, tuple):
            return [v / 2 for v in value]
        options = get_args(kind)
        return options[-1] if options and options[-1] != value else (options or ("other",))[0]

    values: dict[str, Any] = {}
    for path, field in everywhere(cls):
        at = values
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = change(field)
    return values


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_yaml_whatever_its_fields_are(name):
    cls = CONFIGS[name]
    for made in (cls(), from_mapping(cls, other(cls))):
        again = from_mapping(cls, yaml.safe_load(yaml.safe_dump(to_mapping(made))))
        assert again == made
        assert type(again) is cls
    assert all(
        getattr(from_mapping(cls, other(cls)), f.name) != getattr(cls(), f.name)
        for f in fields(cls)
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_cannot_be_changed(name):
    made = CONFIGS[name]()
    with pytest.raises(AttributeError):
        setattr(made, fields(made)[0].name, 1)


@pytest.mark.parametrize(
    ("name", "path"), FIELDS, ids=lambda v: v if isinstance(v, str) else ".".join(v)
)
def test_every_field_says_what_it_means(name, path):
    field = dict(everywhere(CONFIGS[name]))[path]
    assert field.description
    assert len(field.description) > 10


def sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "path"), FIELDS, ids=lambda v: v if isinstance(v, str) else ".".join(v)
)
def test_an_unknown_field_is_refused_with_the_nearest(name, path):
    wrong = (*path[:-1], path[-1] + "x")
    with pytest.raises(UnknownNameError) as caught:
        from_mapping(CONFIGS[name], nested(wrong, 1))
    assert f"did you mean {path[-1]!r}?" in sentence(caught.value)
    assert repr(wrong[-1]) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path", "bound"),
    BOUNDED,
    ids=lambda v: (
        v if isinstance(v, str) else ".".join(v) if isinstance(v, tuple) else type(v).__name__
    ),
)
def test_a_number_out_of_range_is_refused(name, path, bound):
    if isinstance(bound, annotated_types.Ge):
        values = [bound.ge - 1]
    elif isinstance(bound, annotated_types.Le):
        values = [bound.le + 1 if isinstance(bound.le, int) else bound.le * 1.001]
    else:
        values = [bound.gt, bound.gt - 1] if isinstance(bound, annotated_types.Gt) else [bound.lt]
    for value in [*values, "many", float("nan"), None]:
        with pytest.raises(ConfigError) as caught:
            from_mapping(CONFIGS[name], nested(path, value))
        text = sentence(caught.value)
        assert ".".join(path) in text
        assert "accepted: " in text
        assert repr(value) in text


def numbers(schema: dict[str, Any], at: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every place in a JSON schema, definitions included, that takes a number."""
    found = [(at, schema)] if schema.get("type") in ("integer", "number") else []
    for name, part in schema.items():
        parts = part if isinstance(part, list) else [part]
        for inner in parts:
            if isinstance(inner, dict) and name != "default":
                found += numbers(inner, f"{at}/{name}")
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_of_every_configuration_has_two_ends(name):
    """As pydantic's own JSON schema has them, those in tuples and nested ones included."""
    found = numbers(TypeAdapter(CONFIGS[name]).json_schema())
    assert found or name not in (*TRAINING, "settings", "training")
    for at, schema in found:
        assert schema.keys() & {"minimum", "exclusiveMinimum"}, at
        assert schema.keys() & {"maximum", "exclusiveMaximum"}, at
    if name in GRADIENT:
        assert any("betas" in at for at, _ in found)  # it looks into tuples
        with pytest.raises(ConfigError, match=r"alpha\.betas\.0 is -1.0"):
            from_mapping(CONFIGS[name], {"alpha": {"betas": [-1.0, 0.5]}})


@pytest.mark.parametrize(
    "value",
    [10**30, 10**5000, -(10**30), "9" * 5000, float("inf"), 1e308],
    ids=["30-digits", "5000-digits", "negative", "text", "inf", "1e308"],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_number_beyond_all_reason_is_one_short_sentence(name, value):
    for path, field in everywhere(CONFIGS[name]):
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            with pytest.raises(ConfigError) as caught:
                from_mapping(CONFIGS[name], nested(path, value))
            assert ".".join(path) in sentence(caught.value)
            assert len(str(caught.value)) < 600


# -- everywhere ------------------------------------------------------------------------------------


LONG = ("darts-pt", "supernet-shifting", "zero-cost-pt")
"""Methods of two phases, which take the time of all others together."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in NAMES]
)
def test_works_in_nasbench201_where_the_seed_decides_the_first_weights_too(name, tmp_path):
    results = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        results.append(
            search(
                tiny.config(name),
                space="nasbench201",
                data=tiny.images(),
                settings=tiny.changed(
                    tiny.SETTINGS, seed=seed, epochs=1, steps_per_epoch=1, evaluations=2
                ),
                run=tmp_path / str(number),
            )
        )
    one, same, other = results
    assert make("nasbench201").parse(one.text) == one.architecture
    assert name in STEPWISE or len(one.history) == 2
    tiny.assert_same_run(one.run, same.run)
    assert tiny.metrics(one.run) != tiny.metrics(other.run)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if not all(isinstance(tiny.BARE, need) for need in find(n).needs)]
)
def test_a_space_without_what_the_method_needs_is_refused_before_anything_is_written(
    name, tmp_path
):
    with pytest.raises(CapabilityError) as caught:
        run(name, tmp_path / "run", space=tiny.BARE)
    assert "methods that serve it: " in sentence(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_where_it_is_published(name):
    info = find(name)
    assert info.paper
    assert "arXiv" in info.reference
    assert info.epochs >= 1
