"""The command line: `morphogen COMMAND ...`. Every import that takes time waits for its command."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from morphogen.cli.terminal import interrupts, streams
from morphogen.cli.terminal.interrupts import INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; whatever happens is at most one sentence on stderr.

    Args:
        argv: the words after `morphogen`; by default those of this process, which then is ours:
            a signal that does not end the work ends the process.
    """
    alone = argv is None
    words = list(sys.argv[1:] if argv is None else argv)
    if alone:
        streams.opened()
        _quiet()
    with interrupts.caught(alone=alone) as signals, streams.kept():
        try:
            signals.arm()
            code = _run(words)
            signals.over(code)
        except BaseException as error:
            if not (isinstance(error, KeyboardInterrupt) or interrupts.came()):
                raise
            signals.over(INTERRUPTED)
            # What a command has to add (how to go on) comes as the interrupt's argument.
            said = isinstance(error, KeyboardInterrupt) and error.args
            _say(interrupts.sentence(str(error.args[0]) if said else ""))
            code = INTERRUPTED
        unwritten = streams.unwritten()
        if unwritten is not None:
            _say(f"cannot write to standard output: {unwritten.strerror or unwritten}")
            code = code or streams.UNWRITTEN
        sys.stderr.flush()
        if alone and interrupts.came():
            interrupts.leave(code)
        return code


def _run(words: Sequence[str]) -> int:
    """The exit code of a command; a mistake is one sentence on stderr."""
    try:
        from morphogen.cli.commands import run

        return run(words)
    except Exception as error:
        if interrupts.came():
            raise
        from morphogen.cli.terminal import faults

        found = faults.as_error(error)
        _say(str(found))
        return found.exit_code


def _say(sentence: str) -> None:
    from morphogen.core.names import shown

    print(f"morphogen: {shown(sentence)}", file=sys.stderr)


def _quiet() -> None:
    """Warnings of libraries name their files, not what a user can do: they are for developers."""
    if not (sys.warnoptions or os.environ.get("MORPHOGEN_DEBUG")):
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the processes that we start
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
