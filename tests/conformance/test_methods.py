"""Every method keeps the promises of `morphogen.testing` by being registered, and some more."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

import tiny
from morphogen import space_of
from morphogen.core import DataError
from morphogen.engine.search.search import search
from morphogen.methods import find, methods
from morphogen.tasks.classification import ImageTask
from morphogen.testing import MethodChecks

NAMES = list(methods())
TRAINING = [
    name
    for name, info in methods().items()
    if not info.black_box and not info.descent and hasattr(info.config(), "weights")
]

EVERYWHERE = ("darts", "gdas", "random", "spos")
"""Of each family one, which keeps the long promises in the default tier; the slow one has all."""

LONG = (
    "works_in_nasbench201",
    "layers_that_draw_end_in_the_same_bits",
    "resume_in_mid_epoch",
    "resume_after_an_epoch",
    "resume_in_the_first_epoch",
    "space_and_module_are_unchanged",
    "global_generators_and_threads_are_left_alone",
    "another_seed_gives_another_search",
    "measuring_moves_no_stream",
    "frozen_parameters_stay",
)

CASES = [
    pytest.param(
        name,
        promise,
        marks=[pytest.mark.slow] if promise in LONG and name not in EVERYWHERE else [],
    )
    for name in NAMES
    for promise in MethodChecks.promises()
]


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The suite of each method; it keeps an uninterrupted run."""
    return cache(lambda name: MethodChecks(tiny.config(name), tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize(("name", "promise"), CASES)
def test_a_method_keeps_its_promises(name: str, promise: str, suites: Any) -> None:
    suites(name).check(promise)


@pytest.mark.parametrize("name", TRAINING)
def test_the_seed_decides_every_weight(name: str, suites: Any) -> None:
    runs = [suites(name).reference.run, suites(name).search(seed=1).run]
    nets = [tiny.state(run)["state"]["net"] for run in runs]
    assert not any(torch.equal(a, nets[1][k]) for k, a in nets[0].items() if k.endswith("weight"))


@pytest.mark.parametrize("name", TRAINING)
def test_what_is_not_frozen_learns(name: str, suites: Any) -> None:
    module = tiny.own()
    module.stem.requires_grad_(False)
    net = tiny.state(suites(name).search(space=module, epochs=1).run)["state"]["net"]
    assert torch.equal(net["module.stem.0.weight"], module.stem[0].weight)
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
    search(
        tiny.config(name),
        space=tiny.own(),
        data=tiny.images(),
        settings=tiny.changed(tiny.SETTINGS, epochs=1, evaluations=1),
        run=tmp_path / "run",
        watcher=peeps,
    )
    assert peeps.notices
    assert tasks
    assert all(task.has_test for task in tasks)
    opened = [reason for task in tasks for reason in task.test_openings]
    delivers = find(name).delivers_in(space_of(tiny.own()))  # then once, when the search is over
    assert len(opened) == delivers
    assert all(reason.endswith("delivers, after the search") for reason in opened)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_of_ours_says_where_it_is_published(name):
    assert "arXiv" in find(name).reference
