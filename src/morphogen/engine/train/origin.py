"""The run that found an architecture, and what a training of it takes over from there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import attrgetter, getitem
from pathlib import Path
from typing import Any

from morphogen.core import RunError
from morphogen.core.config import altered
from morphogen.core.names import shell
from morphogen.engine.train.recipe import DECAY, TASK, names
from morphogen.engine.train.training import Training
from morphogen.runs.described import title
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.spaces.mapping import MODULE
from morphogen.tasks.configs import TaskConfig, read

DESCENT = "weights"
"""Field of a planned search's configuration: the optimiser of its trainings."""


def in_search(name: str) -> str:
    """The field of a planned search that a field of a recipe has there."""
    return f"{DESCENT}.{name}" if name == DECAY else name


@dataclass(frozen=True)
class Origin:
    """What a finished run found, and how it saw its data."""

    run: Path
    text: str
    """The architecture."""
    space: Mapping[str, Any]
    """As config.yaml has it."""
    data: str
    """As config.yaml names them."""
    task: TaskConfig | None
    """What the data were asked for: size, mirroring, weights of classes, without `recipe`; None: a
    task of one's own was searched on, or is trained on, or data of another name are."""
    taken: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a training that are taken over: the sizes of a network that the run delivered, or
    on whose costs it had limits (`sizes_of`), and of one that was delivered also how long it was
    trained. Of another run none: a supernet's sizes are not those of a training."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a training that a plan chose by how often its own would see each example: they are
    for one as long."""
    keep: tuple[str, ...] = ()
    """Fields that the user has set there although they are as usual."""
    within: SearchSpace | None = None
    """The space as it was searched, with its limits; None: nobody asked."""

    def of(self, data: object) -> Origin:
        """The same, of which nothing is taken over if other data are trained on."""
        return self if str(data) == self.data else self.elsewhere

    @property
    def elsewhere(self) -> Origin:
        """The same for other data than those of the run."""
        return replace(self, task=None, recipe={}, keep=())

    def continued(self, training: Training) -> Training:
        """A training with what is taken over from the run."""
        return altered(training, self.taken)

    def as_long(self, training: Training) -> bool:
        """Whether it trains on the data of the run for as long as what that delivered."""
        return self.task is not None and self.taken.get("epochs") == training.epochs

    def repeated(self, training: Training) -> Training:
        """A training by the recipe of the run, if it is as long."""
        return altered(training, self.recipe) if self.as_long(training) else training

    def kept(self, training: Training) -> str:
        """What is said of the settings that a training has from here; empty without any."""
        said, asked = [], training.task
        there = altered(training, self.taken)
        if self.task is not None and type(asked) is type(self.task):
            there = altered(replace(there, task=self.task), self.recipe)
            each = [f"{TASK}.{held.name}" for held in fields(asked)]
            said.append(self._compared("data settings", each, there, training))
        rest = [*self.taken, *(name for name in self.recipe if not name.startswith(TASK))]
        if rest:
            what = "recipe" if "epochs" in self.taken else "sizes"
            said.append(self._compared(what, rest, there, training))
        return ". ".join([*said[:1], *map(title, said[1:])])

    def _compared(self, what: str, names: Sequence[str], there: Any, here: Any) -> str:
        same: list[str] = []
        other: list[str] = []
        for name in names:
            value = attrgetter(name)(here)
            words = f"{name.rpartition('.')[2].replace('_', ' ')} {_text(value)}"
            (same if value == attrgetter(name)(there) else other).append(words)
        said = f"{what} as in {self.run}: {', '.join(same) or 'nothing'}"
        return said + (f"; other than there: {', '.join(other)}" if other else "")

    def recorded(self, training: Training) -> dict[str, str]:
        """Entries of config.yaml."""
        said = self.kept(training)
        return {"search": str(self.run), **({"inherited": said} if said else {})}


def sizes_of(settings: Mapping[str, Any], *, delivered: bool) -> dict[str, Any]:
    """The sizes of networks that a training takes over from a search; see `Origin.taken`.

    Args:
        settings: of the search, as config.yaml has them.
        delivered: whether it delivered a network.
    """
    tabled = settings.get("evaluation", {}).get("evaluator") == "table"  # limits: on its networks
    if not delivered and (tabled or not settings.get("limit")):
        return {}
    held = settings.get("network", {})
    return {f"network.{name}": held[name] for name in ("channels", "depth") if name in held}


def _text(value: Any) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else f"{value}"


def found_in(run: str | Path) -> Origin:
    """What a finished run found.

    Raises:
        RunError: there is no run, or it is not finished.
        ConfigError: its settings of the data cannot be read.
    """
    directory = RunDirectory.open(run)
    values, written = directory.config(), directory.result()
    if written is None or not isinstance(written.get("architecture"), str):
        raise RunError(
            f"{run} is not finished: it has no result yet; accepted: a finished run, or first "
            f"`{shell('morphogen', 'resume', directory.path)}`"
        )
    own = values["space"].get("code") == MODULE  # which has its own sizes
    settings, delivered = values["settings"], directory.has_network
    taken = {} if own else sizes_of(settings, delivered=delivered)
    if delivered:
        taken |= {name: settings[name] for name in ("epochs", "batch_size")}
        taken["hardware.precision"] = settings["hardware"]["precision"]
    task = read(settings.get(TASK))
    planned, kept = values.get("planned", ()), values.get("kept", ())
    # A search has the weight decay in its method's configuration, a training as it is said here.
    there = settings | values["config"].get(DESCENT, {})
    written_as = str if directory.is_training else in_search
    recipe = {name: _value(there, name) for name in names(task) if written_as(name) in planned}
    return Origin(
        directory.path,
        written["architecture"],
        values["space"],
        str(values.get("data")),
        without_recipe(task, planned),
        taken,
        recipe,
        tuple(name for name in names(task) if written_as(name) in kept),
    )


def without_recipe(task: TaskConfig | None, planned: Collection[str]) -> TaskConfig | None:
    """What data are asked for, but for what a plan chose by how often each example is seen.

    Args:
        task: what they are asked for.
        planned: names of the fields that a plan chose.
    """
    if task is None:
        return None
    usual = type(task)()
    chosen = [name.partition(".")[2] for name in names(task) if name in planned and name != DECAY]
    return replace(task, **{name: getattr(usual, name) for name in chosen})


def _value(there: Mapping[str, Any], name: str) -> Any:
    """Of a field, `task.crop`, in mappings in mappings."""
    return reduce(getitem, name.split("."), there)
