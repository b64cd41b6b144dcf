"""Options that only data of a kind have: which are offered, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.cli.options import Section, sections
from morphogen.core import ConfigError
from morphogen.core.names import brief
from morphogen.tasks.configs import TaskConfig, name_of, task_configs


def sections_beside(own: TaskConfig | None) -> list[Section]:
    """The options that data of other kinds have and these have not."""
    own_flags = {o.flags for s in sections("", own, name="task") for o in s.options} if own else ()
    beside = []
    for cls in task_configs().values():
        title = (cls.__doc__ or "").split("\n")[0].rstrip(".")
        if cls is not type(own):
            for section in sections(title, cls(), name="task"):
                options = tuple(o for o in section.options if o.flags not in own_flags)
                beside.append(Section(section.title, options))
    return beside


def refuse_beside(words: Sequence[str], kind: type[TaskConfig], data: str) -> None:
    """Refuse an option that data of another kind have, and these do not.

    Raises:
        ConfigError: names the option and both kinds.
    """
    own = {flag for s in sections("", kind(), name="task") for o in s.options for flag in o.flags}
    given = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    for cls in task_configs().values():
        known = [f for s in sections("", cls(), name="task") for o in s.options for f in o.flags]
        for flag in known:
            if cls is not kind and flag in given - own:
                raise ConfigError(
                    f"{flag} is an option for {name_of(cls)}, and the data {brief(data)} are "
                    f"{name_of(kind)}; accepted: without {flag}, or data that are {name_of(cls)}"
                )
