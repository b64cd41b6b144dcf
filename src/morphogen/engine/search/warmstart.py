"""`--from RUN`: the trained supernet of a finished run as the beginning of another.

What is needed of it is copied into the new run's directory, so that the new run can be resumed
when the old one is gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from morphogen import spaces
from morphogen.core import ConfigError, RunError
from morphogen.core.config import from_mapping
from morphogen.core.files import nameable, write_anew
from morphogen.core.names import shell
from morphogen.core.reading import trouble
from morphogen.core.records import from_json
from morphogen.engine.search.settings import Settings
from morphogen.runs import checkpoint
from morphogen.runs.described import PASSED
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import require_recorded
from morphogen.runs.records import WarmStart
from morphogen.spaces import SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.problem import Start

KEY = "morphogen-start"


@dataclass(frozen=True)
class Origin:
    """Where weights are from, and what they were trained on."""

    run: str
    data: str
    classes: tuple[str, ...]
    """Names; none of a task without classes."""
    outputs: int
    in_channels: int
    seed: int
    """Of the split: on the same data, what held examples out of training holds them out again."""
    train_images: int
    contents: Mapping[str, Any]
    """Of the data, see `Task.contents`."""

    def knows(self, data: str, task: Task) -> bool:
        """Whether these data, of this name, are what the weights were trained on.

        Raises:
            RunError: they have the name and are others by now.
        """
        if self.data != data or self.outputs != task.outputs():
            return False
        if self.classes != tuple(task.describe().get("classes", ())):
            return False
        difference = task.changed(self.contents, resized=True)
        if difference and data not in PASSED:
            raise RunError(
                f"the data {data} are not those that the supernet of {self.run} was trained on: "
                f"{difference}; accepted: the data as they were, or others under another name"
            )
        return difference is None


Begun = tuple[Mapping[str, Tensor], Origin]
"""The weights of a supernet, and where they are from."""


def read_run(
    run: str | Path, space: SearchSpace, settings: Settings, *, what: str = "from"
) -> Begun:
    """The supernet's state of a finished run, and its origin; `what` names it in messages.

    Raises:
        RunError: the run is not finished, trained no supernet, or one of another space or size.
    """
    directory = RunDirectory.open(run)
    values = directory.config()
    if directory.result() is None:
        raise RunError(
            f"{what} is {run}, which is not finished; accepted: a finished run, or first "
            f"`{shell('morphogen', 'resume', directory.path)}`"
        )
    if not directory.checkpoint_file.exists():
        if directory.store_file.exists():
            raise RunError(
                f"{what} is {run}, and {values.get('method')!r} trains no supernet; accepted: a "
                "run of a method that does"
            )
        raise RunError(
            f"{what} is {run}, whose {directory.checkpoint_file.name} is not there any more; "
            "accepted: a run that has it"
        )
    content = checkpoint.read_saved(directory.checkpoint_file)
    state, trained = content["state"], content.get("task")
    if isinstance(state.get("searched"), dict):  # of a run with a selection or a stop of its own
        state = state["searched"]
    net = state.get("net")
    if not isinstance(net, dict) or not isinstance(trained, dict):
        raise RunError(
            f"{what} is {run}, whose checkpoint holds no supernet; accepted: one with it"
        )
    if values.get("method") == "train":
        raise RunError(f"{what} is {run}, a training of one architecture; accepted: a search")
    recorded = from_mapping(Settings, values["settings"])
    held = spaces.read(values["space"])
    ran = {"space": held.name, **_shape(recorded)}
    wanted = {"space": space.name, **_shape(settings)}
    # The shapes of a user's own module are compared when they are taken.
    if not spaces.needs_code(values["space"]):
        for name, value in wanted.items():
            if ran[name] != value:
                raise RunError(
                    f"{name} is {_said(value)}, and the supernet of {run} has {_said(ran[name])}; "
                    f"accepted: {name} {_said(ran[name])}"
                )
        if held != space:
            raise RunError(
                f"the options of space {space.name!r} are others than those of the supernet of "
                f"{run}; accepted: the space that was searched there"
            )
    require_recorded(directory, values)
    before = origin_of(directory.path)
    data = str(values.get("data"))
    origin = Origin(
        str(run),
        data,
        tuple(trained["classes"]),
        int(trained["outputs"]),
        int(trained["in_channels"]),
        before.seed if before is not None and before.data == data else recorded.seed,
        recorded.split.train_images,
        values["contents"],
    )
    return net, origin


def _shape(s: Settings) -> dict[str, Any]:
    """Settings that a supernet's shape depends on."""
    return {
        "channels": s.network.channels,
        "depth": s.network.depth,
        "partial_channels": s.regularisation.partial_channels,
        "without": s.without,
    }


def _said(value: Any) -> str:
    return str(value) or "''"


def check_split(origin: Origin, settings: Settings) -> None:
    """Refuse a split of the same data that holds examples out which trained the weights.

    Raises:
        ConfigError: the train part is smaller than theirs.
    """
    if settings.split.train_images < origin.train_images:
        raise ConfigError(
            f"train_images is {settings.split.train_images}, and the supernet of {origin.run} was "
            f"trained on {origin.train_images}, some of which would be held out now; accepted: "
            f"{origin.train_images} or more"
        )


def write(path: Path, net: Mapping[str, Tensor], origin: Origin) -> None:
    """Keep what `read_run` gave in the run directory `path`."""
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in net.items()}
    body = save(tensors, {KEY: json.dumps(asdict(origin))})
    write_anew(RunDirectory(path).start_file, body)


def read(path: Path, data: str, task: Task) -> Start | None:
    """What the run in `path` begins with; None if with weights of its own.

    Args:
        path: the run directory.
        data: the name of its data, as in config.yaml.
        task: its data; where they are another's, the classifier is drawn anew.

    Raises:
        RunError: the file is damaged.
    """
    origin = origin_of(path)
    if origin is None:
        return None
    with _opened(path) as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    same = origin.knows(data, task)
    return Start(weights, None if same else origin.outputs)


def origin_of(path: Path) -> Origin | None:
    """Where the weights are from that the run in `path` begins with; None without such.

    Raises:
        RunError: the file is damaged.
    """
    file = RunDirectory(path).start_file
    if not os.path.lexists(file):
        return None
    with _opened(path) as held:
        text = (held.metadata() or {})[KEY]
    accepted = "the file as the search wrote it"
    values = from_json(WarmStart, text, str(file), accepted=accepted)
    return Origin(**{**values, "classes": tuple(values["classes"])})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    start = RunDirectory(path).start_file
    wrong = trouble(start)
    if wrong:
        raise RunError(f"cannot read {start}: {wrong}; accepted: the file as the search wrote it")
    try:
        with nameable(start) as name, safe_open(name, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(
            f"{RunDirectory(path).start_file} cannot be read ({str(error).splitlines()[0]}); "
            "accepted: the file as the search wrote it"
        ) from error
