"""The command line: `morphogen COMMAND ...`. Every import that takes time waits for its command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from morphogen.core import MorphogenError
from morphogen.core.names import escape_unencodable, shown

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; a mistake is one sentence on stderr.

    Args:
        argv: the words after `morphogen`; by default those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    escape_unencodable()
    try:
        with _terminated_like_interrupted():
            from morphogen.cli.commands import run

            code = run(words)
            sys.stdout.flush()
            return code
    except MorphogenError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        # What a command has to add (how to go on) comes as the interrupt's argument.
        _say(f"interrupted; {error.args[0]}" if error.args else "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has left: nothing to say, and nothing may be flushed at exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _say(sentence: str) -> None:
    print(f"morphogen: {shown(sentence)}", file=sys.stderr)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Within the context SIGTERM ends a search as Ctrl-C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # called from a thread that is not the main one: signals are not ours
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
