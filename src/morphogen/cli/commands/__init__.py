"""The commands, one file each; a file is imported when its command is asked for.

What is needed to say that something is wrong, or what there is, is imported at once; torch only
when work is about to start.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from morphogen.cli.command import HELP, Command
from morphogen.cli.terminal.output import width
from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.arguments import encodable
from morphogen.core.names import brief
from morphogen.core.text import fold

NAMES = (
    "search",
    "resume",
    "train",
    "export",
    "predict",
    "query",
    "import-nasbench101",
    "cost",
    "compare",
    "score",
    "rank",
    "report",
    "runs",
    "list",
)
"""In the order of the overview. The command `import-nasbench101` is `COMMAND` of the file
import_nasbench101.py beside this one."""


def command(name: str) -> Command:
    """The command called `name`, one of `NAMES`."""
    found: Command = import_module(f"{__name__}.{name.replace('-', '_')}").COMMAND
    return found


def run(words: Sequence[str]) -> int:
    """Run the command that `words` say.

    Raises:
        ConfigError: a word is no text.
        UnknownNameError: there is no such command.
    """
    for word in words:
        if "\0" in word or not encodable(word):
            raise ConfigError(f"argument {brief(word)} is no text; accepted: what a shell can pass")
    if not words or words[0] in (*HELP, "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "-V"):
        from morphogen import __version__

        print(f"morphogen {__version__}")
        return 0
    if words[0] not in NAMES:
        kind = "option" if words[0].startswith("-") else "command"
        raise UnknownNameError(kind, words[0], [*NAMES, "--help", "--version"])
    return command(words[0])(words[1:])


def overview() -> str:
    """All commands with their usage, and examples."""
    commands = [command(name) for name in NAMES]
    rows = [(f"{c.name} {c.usage}", c.summary) for c in commands]
    left = max(len(head) for head, _ in rows) + 4
    lines = [fold(f"  {head}".ljust(left) + text, width(), hanging=left) for head, text in rows]
    about = (
        "Weight-sharing neural architecture search: find a network for your data by training one "
        "supernet that holds all candidates, with the published methods, and see at once what "
        "measured benchmark tables say of what was found."
    )
    return "\n".join(
        [
            "Usage: morphogen COMMAND ...",
            "",
            fold(about, width()),
            "",
            "Commands:",
            *lines,
            "",
            "Examples:",
            *(f"  {line}" for c in commands for line in c.examples[:2]),
            "",
            fold(
                "`morphogen COMMAND --help` explains a command, `morphogen search METHOD --help` a "
                "method with all its options, `morphogen --version` says which version this is.",
                width(),
            ),
        ]
    )
