"""One error tree: each message is one sentence naming the field, its value and what is accepted.

The command line prints the message and exits with `MorphogenError.exit_code`; a traceback is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from morphogen.core.names import LONGEST, brief, shown

SENTENCE = 5000
"""Signs of a message at most; lists of all that is known are the longest."""


class MorphogenError(Exception):
    """A mistake of the user or of the surroundings that morphogen can name."""

    exit_code = 2

    def __str__(self) -> str:
        """The sentence on one line: it may hold names of files and classes, or others' words.

        However much was passed by mistake, its beginning and what is accepted at its end are left.
        """
        text = shown(super().__str__())
        return text if len(text) <= SENTENCE else f"{text[:LONGEST]} ... {text[-LONGEST:]}"


class ConfigError(MorphogenError):
    """A configuration field is unknown or out of range."""


class UnknownNameError(ConfigError):
    """A method, space, data set, option or field of that name does not exist."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        text = name[:LONGEST] if isinstance(name, str) else ""
        near = get_close_matches(text, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        self._made_of = (kind, name, known)
        super().__init__(f"unknown {kind} {brief(name)}; {hint}known: {', '.join(known)}")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, list[str]]]:
        # Errors travel between processes; by default only the message would arrive.
        return type(self), self._made_of


class ArchitectureError(MorphogenError):
    """An architecture does not belong to the space, or its text cannot be read."""


class SpaceError(MorphogenError):
    """A search space, or a module with `OneOf` in it, is not well formed."""


class CapabilityError(MorphogenError):
    """The method needs something that the search space, or the evaluator, does not have."""


class DataError(MorphogenError):
    """A data set is missing, corrupt, or does not fit the request."""


class NumericalError(MorphogenError):
    """A loss or a gradient is not finite."""

    exit_code = 3


class RunError(MorphogenError):
    """A run directory cannot be written or read."""

    exit_code = 4


class OutOfMemoryError(RunError):
    """A request needs more memory than there is."""


class CheckpointError(RunError):
    """A checkpoint is corrupt, or belongs to another run."""
