"""What every method keeps; the suite that the methods inside are held to."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from morphogen.core import CapabilityError, MorphogenError
from morphogen.core.config import altered, from_mapping, to_mapping
from morphogen.core.names import shown
from morphogen.engine.search.job import method_of
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import timetable
from morphogen.exports.loading import load
from morphogen.methods import Relaxing, Stepwise
from morphogen.runs import checkpoint
from morphogen.runs.weights import read_weights
from morphogen.spaces import SearchSpace
from morphogen.supernets import space_of
from morphogen.tasks.problem import Problem
from morphogen.testing import toys
from morphogen.testing.checks import Checks, require
from morphogen.testing.runs import (
    Interrupt,
    Recorder,
    metrics,
    require_same_run,
    same,
    state,
    timeless,
)


class MethodChecks(Checks):
    """The promises of one method, on searches of a fraction of a second with a user's own module.

    Args:
        method: a method's name (then with its quick configuration), or a method's configuration.
            It should have short phases: a few epochs are searched some twenty times.
        folder: where run directories are made; by default a temporary one.
        module: makes the module that is searched, always with the same weights.
        settings: of the searches; three epochs, or three evaluations, at least.
    """

    def __init__(
        self,
        method: str | object,
        folder: Path | None = None,
        *,
        module: Callable[[], nn.Module] = toys.own,
        settings: Settings = toys.SETTINGS,
    ) -> None:
        self.info, self.config = method_of(method)
        self._temporary = None if folder else tempfile.TemporaryDirectory()
        self.folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self.module, self.settings = module, settings
        self._runs = 0

    def search(
        self, *, watcher: Any = Recorder, space: Any = None, task: Any = None, **changed: Any
    ) -> SearchResult:
        """A search of the module, or of another space, in a new run directory.

        Args:
            watcher: as for `morphogen.search`.
            space: instead of the module.
            task: instead of the images.
            **changed: settings that are other than the suite's; `__` stands for a dot.
        """
        self._runs += 1
        values = {name.replace("__", "."): value for name, value in changed.items()}
        settings = self.settings if task is None else replace(self.settings, task=None)
        return search(
            self.config,
            space=space or self.module(),
            data=toys.images() if task is None else None,
            task=task,
            settings=altered(settings, values),
            run=self.folder / f"{self.info.name}-{self._runs}",
            watcher=watcher,
        )

    @cached_property
    def reference(self) -> SearchResult:
        """A search that nothing interrupts, with which others are compared."""
        return self.search()

    @property
    def latest(self) -> Path:
        """The run directory of the last search that was begun."""
        return self.folder / f"{self.info.name}-{self._runs}"

    # -- randomness --------------------------------------------------------------------------

    def check_same_seed_gives_the_same_bits(self) -> None:
        """Whatever was drawn from the global generators before."""
        reference = self.reference
        torch.manual_seed(99)
        np.random.seed(98)  # noqa: NPY002
        random.seed(97)
        torch.rand(7)
        again = self.search()
        require(again.text == reference.text, f"{again.text} is found, then {reference.text}")
        require_same_run(again.run, reference.run)

    def check_another_seed_gives_another_search(self) -> None:
        """Metrics differ from the first epoch on, or the architectures that are asked for."""
        ours, theirs = metrics(self.reference.run), metrics(self.search(seed=1).run)
        if self.info.black_box:
            asked = [[row["candidate"] for row in rows] for rows in (ours, theirs)]
            require(asked[0] != asked[1], "seeds 0 and 1 ask for the same architectures")
        else:
            require(ours[0] != theirs[0], "seeds 0 and 1 have the same first epoch")

    def check_global_generators_and_threads_are_left_alone(self) -> None:
        """Of torch, numpy and Python, and torch's number of threads."""
        threads = 2 if self.info.black_box else 1  # two are slow where others compute, too

        def surroundings() -> tuple[Any, ...]:
            numpy = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
            return torch.get_rng_state().tolist(), numpy, random.getstate(), torch.get_num_threads()

        before = surroundings()
        self.search(epochs=1, evaluation__budget=1, hardware__threads=threads)
        names = ("torch's generator", "numpy's", "Python's", "torch's threads")
        moved = [n for n, a, b in zip(names, before, surroundings(), strict=True) if a != b]
        require(not moved, f"a search has moved {', '.join(moved)}")

    def check_measuring_moves_no_stream(self) -> None:
        """With diagnostics or without, a supernet's search ends in the same state."""
        if self.info.black_box:
            return
        ends = []
        for measured in (40, 0):
            result = self.search(space=toys.drawing(), diagnostics__images=measured)
            found = any(name.startswith("recalibrated_") for name in result.history[-1])
            require(
                found == (measured > 0 and issubclass(self.info.build, Relaxing)),
                f"with diagnostics of {measured} images the gap is {'' if found else 'not '}there",
            )
            content = state(result.run)
            ends.append({part: content[part] for part in ("state", "problem", "torch_rng")})
        for part, end in ends[0].items():
            require(same(end, ends[1][part]), f"{part} differs with diagnostics")

    def check_layers_that_draw_end_in_the_same_bits(self) -> None:
        """A module with dropout and noise, interrupted after an epoch and resumed."""
        torch.manual_seed(99)
        first = self.search(space=toys.drawing(), epochs=2)
        torch.rand(7)
        self._interrupted(Interrupt(epochs=1), space=toys.drawing(), epochs=2)
        again = resume(self.latest, space=toys.drawing(), data=toys.images())
        require_same_run(again.run, first.run)

    # -- interruption ------------------------------------------------------------------------

    def check_resume_in_the_first_epoch(self) -> None:
        """Before there is any checkpoint."""
        self._resumed(Interrupt(steps=1))

    def check_resume_after_an_epoch(self) -> None:
        """With its checkpoint."""
        self._resumed(Interrupt(epochs=1))

    def check_resume_in_mid_epoch(self) -> None:
        """What the epoch has done is done again."""
        self._resumed(Interrupt(steps=3))

    def check_resume_before_the_result(self) -> None:
        """After the last epoch."""
        self._resumed(Interrupt(epochs=3))

    def _interrupted(self, interrupt: Interrupt, **changed: Any) -> bool:
        """Interrupt a search; whether it had nothing left to do but its result."""
        try:
            found = self.search(watcher=interrupt, **changed)
        except KeyboardInterrupt:
            unfinished = not (self.latest / "result.json").exists()
            require(unfinished, "an interrupted search has a result")
            return False
        require(self.info.anytime, "the search has ended before it was to be interrupted")
        return not found.ended_early

    def _resumed(self, interrupt: Interrupt) -> None:
        reference = self.reference
        complete = self._interrupted(interrupt)
        done = None if complete else len(metrics(self.latest))
        told = Recorder()
        result = resume(self.latest, space=self.module(), data=toys.images(), watcher=told)
        require(told.finished == done, f"{done} lines were there, it went on from {told.finished}")
        new = [said for said in told.notices if said not in reference.remarks]
        require(not new, f"it said, unlike the search without a break: {'; '.join(new)}")
        require(
            timeless(result.history) == timeless(reference.history), "the result's history differs"
        )
        require_same_run(result.run, reference.run)

    def check_an_interrupt_ends_an_anytime_search_with_the_best_so_far(self) -> None:
        """With the architecture of the last epoch done; and resumed it ends as without a break."""
        if not self.info.anytime:
            return
        early = self.search(watcher=Interrupt(epochs=1, steps=1))
        lines = metrics(early.run)
        require(early.ended_early, "an interrupted search does not say so")
        require(early.text == lines[-1]["architecture"], f"{early.text} is not the last epoch's")
        again = resume(early.run, space=self.module(), data=toys.images())
        require(not again.ended_early, "the resumed search says that it has ended early")
        require_same_run(again.run, self.reference.run)

    def check_a_finished_run_is_left_alone(self) -> None:
        """Resuming it returns its result, starts nothing and changes no file."""
        reference = self.reference
        before = {p.name: p.read_bytes() for p in reference.run.iterdir()}
        told = Recorder()
        again = resume(reference.run, space=self.module(), data=toys.images(), watcher=told)
        require(again == replace(reference, history=again.history), "the result read differs")
        require(again.history == reference.history, "the history read differs")
        require(told.finished is None, "a finished search was started again")
        after = {p.name: p.read_bytes() for p in reference.run.iterdir()}
        require(before == after, "files of a finished run have changed")

    # -- a trained network -------------------------------------------------------------------

    def check_a_delivered_network_is_used_like_a_trainings(self) -> None:
        """Its file holds the architecture found, and gives what the result's network gives."""
        found = self.reference
        require(
            not self.info.delivers_in(found.space) or found.weights is not None,
            "the method has `network`, and the search has delivered none",
        )
        if found.weights is None:
            return
        tensors, signature = read_weights(found.weights)
        require(signature.architecture == found.text, f"it is of {signature.architecture}")
        require(found.space.parse(signature.architecture) == found.architecture, "it is another")
        net = found.network()
        held = dict(sorted(net.state_dict().items()))
        require(same(held, dict(sorted(tensors.items()))), "the network has other weights")
        x = signature.example_input(3)
        model = load(found.run, self.module())
        with torch.no_grad():
            require(torch.equal(model(x), net(x)), "loading the run gives another network")

    def check_the_test_part_is_opened_once_for_the_delivered_network(self) -> None:
        """When the search is over; and not again when the finished run is opened again."""
        if not self.info.delivers_in(space_of(self.module())):
            return
        task = toys.problem(space_of(self.module()), test=True).task
        found = self.search(task=task)
        require(len(task.test_openings) == 1, f"it was opened {len(task.test_openings)} times")
        require(bool(found.test), "there is no figure of the test part")
        again = resume(found.run, space=self.module(), task=task)
        require(len(task.test_openings) == 1, "a finished run was measured again")
        require(dict(again.test) == dict(found.test), "the figure read differs")
        net = found.network()
        with torch.no_grad():
            sums = task.measure(net, task.once(task.open_test("to compare"), 100))
        value = task.value(sums)
        require(
            found.test["mean"] == value, f"{found.test['mean']} is on record, and it is {value}"
        )

    # -- what a method must not touch --------------------------------------------------------

    def check_space_and_module_are_unchanged(self) -> None:
        """Weights, modes, gradients and options of the user's module, and its space."""
        module = self.module()
        next(module.children()).eval()
        space = space_of(module)
        weights = copy.deepcopy(module.state_dict())
        modes = [m.training for m in module.modules()]
        wanted = [p.requires_grad for p in module.parameters()]
        choices, masks = space.choices, {g: m.copy() for g, m in space.masks.items()}
        for given in (module, space):
            self.search(space=given, epochs=1, evaluation__budget=1)
        require(same(dict(module.state_dict()), dict(weights)), "the module's weights have changed")
        require([m.training for m in module.modules()] == modes, "its modes have changed")
        require(all(p.grad is None for p in module.parameters()), "its weights have gradients")
        require([p.requires_grad for p in module.parameters()] == wanted, "others are frozen now")
        require(space.choices == choices, "the space's choices have changed")
        unchanged = all(np.array_equal(space.masks[g], m) for g, m in masks.items())
        require(unchanged and space.module is module, "the space has changed")

    def check_frozen_parameters_stay(self) -> None:
        """A parameter of the user's module without requires_grad is as it was."""
        module = self.module()
        name, frozen = next(iter(module.named_parameters()))
        frozen.requires_grad_(False)
        result = self.search(space=module, epochs=1, evaluation__budget=1)
        net = state(result.run).get("state", {}).get("net")
        if net is not None:
            require(torch.equal(net[f"module.{name}"], frozen), f"{name} is frozen, and has moved")

    def check_the_test_part_stays_closed(self) -> None:
        """No step asks for it."""
        if self.info.black_box:  # it never sees a task
            return
        problem = toys.problem(space_of(self.module()), test=True)
        with problem.task.sealed("the search"):
            self._stepped(problem, 2)
        require(problem.task.test_openings == (), "the test part has been opened")

    def check_a_step_uses_only_the_problems_streams(self) -> None:
        """Two states stepped in turn, with noise drawn in between, do what each does alone."""
        if self.info.black_box:
            return
        space = space_of(self.module())
        alone = checkpoint.capture(self._stepped(toys.problem(space), 2))
        method = self._stepwise()
        problems = [toys.problem(space), toys.problem(space, seed=9)]
        clock = timetable(method, problems[0], 1, 2)[0]
        states = [method.init(p) for p in problems]
        for step in range(2):
            for held, problem in zip(states, problems, strict=True):
                torch.rand(3)
                method.step(held, problem, replace(clock, step=step))
        require(same(checkpoint.capture(states[0]), alone), "a step draws from elsewhere")

    def check_optimisers_hold_their_own_and_all_of_it_learns(self) -> None:
        """Alphas and weights are in one optimiser each, move, and are left without gradients.

        Of a method whose configuration has optimisers `alpha` and `weights`; without decay, so that
        nothing moves but by a gradient.
        """
        parts = ("alpha", "weights")
        if not all(hasattr(self.config, part) for part in parts):
            return
        config = altered(self.config, {f"{part}.weight_decay": 0.0 for part in parts})
        problem = toys.problem(space_of(self.module()))
        method: Any = self.info.build(config)
        held = method.init(problem)
        before = copy.deepcopy((held.alphas, list(held.net.parameters())))
        of = [
            {id(p) for g in optimiser.param_groups for p in g["params"]}
            for optimiser in (held.alpha_optimiser, held.weight_optimiser)
        ]
        require(of[0] == {id(a) for a in held.alphas}, "the alphas' optimiser holds others")
        require(
            of[1] == {id(p) for p in held.net.parameters()}, "the weights' optimiser holds others"
        )
        clock = timetable(method, problem, 1, 12)[0]
        for step in range(12):
            method.step(held, problem, replace(clock, step=step))
        require(len(held.alphas) == len(problem.space.groups), "alphas are not one for each group")
        for alpha, old in zip(held.alphas, before[0], strict=True):
            require(bool((alpha != old).all()), "an alpha has not moved in twelve steps")
        for weight, old in zip(held.net.parameters(), before[1], strict=True):
            require(bool((weight != old).any()), "a weight has not moved in twelve steps")
        tensors = (*held.alphas, *held.net.parameters())
        require(all(t.grad is None for t in tensors), "a step has left gradients behind")

    def _stepwise(self) -> Stepwise:
        method: Any = self.info.build(self.config)
        return method  # type: ignore[no-any-return]

    def _stepped(self, problem: Problem, steps: int) -> Any:
        """The state after so many steps of an epoch of so many."""
        method = self._stepwise()
        clock = timetable(method, problem, 1, steps)[0]
        held = method.init(problem)
        for step in range(steps):
            method.step(held, problem, replace(clock, step=step))
        return held

    # -- elsewhere ---------------------------------------------------------------------------

    def check_works_in_nasbench201(self) -> None:
        """A built-in space, where the seed decides the first weights, too."""
        results = []
        for number, seed in enumerate((0, 0, 1)):
            torch.manual_seed(number)
            short = {"epochs": 1, "steps_per_epoch": 1, "evaluation__budget": 2}
            results.append(self.search(space="nasbench201", seed=seed, **short))
        one, again, other = results
        require(one.space.parse(one.text) == one.architecture, f"{one.text} is read as another")
        require_same_run(one.run, again.run)
        require(metrics(one.run) != metrics(other.run), "seeds 0 and 1 have the same metrics")

    def check_a_space_without_what_it_needs_is_refused(self) -> None:
        """In one sentence, before anything is written; and it says what would serve."""
        bare: SearchSpace = toys.BARE
        if all(isinstance(bare, need) for need in self.info.needs):
            return
        try:
            self.search(space=bare)
        except CapabilityError as error:
            require("methods that serve it: " in str(error), f"no remedy in: {error}")
            require("\n" not in str(error), f"more than a sentence: {shown(str(error))}")
            require(not self.latest.exists(), "a run directory was made all the same")
            return
        raise AssertionError("a space without the capabilities that it needs is searched")

    # -- configuration -----------------------------------------------------------------------

    def check_its_configuration_survives_yaml_and_cannot_be_changed(self) -> None:
        """So that a run directory holds it, and nothing changes it on the way."""
        cls = self.info.config
        for made in (cls(), self.config):
            again = from_mapping(cls, yaml.safe_load(yaml.safe_dump(to_mapping(made))))
            require(again == made and type(again) is cls, f"{made} is read as {again}")
        for field in fields(cls)[:1]:
            try:
                setattr(cls(), field.name, None)
            except AttributeError:
                continue
            raise AssertionError("a configuration can be changed; it must be a @config class")

    def check_every_field_of_its_configuration_says_what_it_means(self) -> None:
        """In the docstring under the field: the command line shows it as help."""
        silent = [name for name, text in _docstrings(self.info.config) if len(text or "") < 10]
        require(not silent, f"without a docstring under the field: {', '.join(silent)}")

    def check_it_says_what_it_does(self) -> None:
        """A title for `morphogen list`, and how long the published search is."""
        require(bool(self.info.paper), "its module has no docstring")
        require(self.info.epochs >= 1, f"epochs is {self.info.epochs}; accepted: 1 or more")

    def check_an_unknown_field_is_refused(self) -> None:
        """In one sentence that names it."""
        try:
            from_mapping(self.info.config, {"no_such_field": 1})
        except MorphogenError as error:
            require("no_such_field" in str(error), f"the field is not named in: {error}")
            return
        raise AssertionError("a field that is not there is taken")


def _docstrings(cls: Any, at: str = "") -> list[tuple[str, str | None]]:
    """Dotted name and docstring of each field, those of nested configurations included."""
    found: list[tuple[str, str | None]] = []
    for name, field in cls.__pydantic_fields__.items():
        if is_dataclass(field.annotation):
            found += _docstrings(field.annotation, f"{at}{name}.")
        else:
            found.append((at + name, field.description))
    return found
