"""What a plan has chosen so far; what the user has set is not changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from operator import attrgetter
from typing import Any

from morphogen.core.config import altered, require_fields
from morphogen.engine.search.settings import Settings
from morphogen.methods.successive_halving import SuccessiveHalvingConfig


class Choices:
    """The settings so far; what the user has set is not changed."""

    def __init__(
        self,
        settings: Settings,
        config: SuccessiveHalvingConfig,
        usual: Settings,
        usual_config: SuccessiveHalvingConfig,
        keep: Collection[str] = (),
    ) -> None:
        self.settings, self.config = settings, config
        task = settings.task and type(settings.task)()
        self._usual = replace(usual, task=task), usual_config
        self._keep = frozenset(keep)
        require_fields(self._keep, settings, config)
        self.chosen: set[str] = set()
        self.said: list[str] = []
        self.reference = True
        """Whether there is a network that nobody searched, within the limits."""

    def asked(self, name: str) -> bool:
        """Whether the user has set a field, `network.channels` or `seeds`."""
        if name in self._keep:
            return True
        held = (self.config, self._usual[1]) if _has(self.config, name) else None
        now, usual = held or (self.settings, self._usual[0])
        return bool(attrgetter(name)(now) != attrgetter(name)(usual))

    def take(self, name: str, value: Any) -> Any:
        """The user's value of a field, or else this one."""
        of_method = _has(self.config, name)
        if self.asked(name):
            return attrgetter(name)(self.config if of_method else self.settings)
        self.chosen.add(name)
        if of_method:
            self.config = altered(self.config, {name: value})
        else:
            self.settings = altered(self.settings, {name: value})
        return value

    def say(self, sentence: str) -> None:
        """Why."""
        self.said.append(sentence)


def _has(config: SuccessiveHalvingConfig, name: str) -> bool:
    return name.partition(".")[0] in type(config).__pydantic_fields__  # type: ignore[attr-defined]
