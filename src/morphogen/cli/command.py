"""What a command is: its words, its documentation, and the function that does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

from morphogen.cli.options import Option, Section, read, show
from morphogen.cli.terminal.output import width
from morphogen.core.text import fold

HELP = ("-h", "--help")

CELL = "'|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|'"
"""An architecture of NAS-Bench-201, for examples."""

JSON = Option(("--json",), "", "print one JSON object on stdout", False)

JSON_PROGRESS = Option(
    ("--json",), "", "print one JSON object on stdout, progress on stderr", False
)


@dataclass(frozen=True)
class Command:
    """One word after `morphogen`."""

    name: str
    usage: str
    """What follows the name."""
    summary: str
    examples: tuple[str, ...]
    """Lines of a shell; the first two stand in the overview."""
    run: Callable[[Any], int]
    """Gets the values of `options` by name, or the words if there are none; returns the exit
    code."""
    options: Section | None = None
    """None: the command reads its words itself, since its options depend on them."""

    def __call__(self, words: Sequence[str]) -> int:
        """Run the command with the words after its name, or print its help; the exit code."""
        if self.options is None:
            return self.run(words)
        needs = any(o.default is MISSING for o in self.options.options)
        if any(word in HELP for word in words) or (needs and not words):
            print(self.help(self.options))
            return 0
        return self.run(read(words, self.options, prog=f"morphogen {self.name}"))

    def help(self, options: Section) -> str:
        """The help text of a command with these options."""
        return "\n".join(
            [
                f"Usage: morphogen {self.name} {self.usage}",
                "",
                fold(self.summary, width()),
                show([options], width=width()),
                "",
                "Examples:",
                *(f"  {line}" for line in self.examples),
            ]
        )
