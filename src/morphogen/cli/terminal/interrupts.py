"""Ctrl-C, SIGTERM and a terminal that goes away: the work ends, soon, whatever it is doing.

The first signal raises `KeyboardInterrupt`, so that what is open is closed. That alone is no
promise: Python drops an exception that comes in a destructor, a library may swallow it, and a
native call that waits for something sees no signal at all. So in a process of our own a thread
hears of the signal too, and ends the process if it is still there `GRACE` seconds later. Nothing
is lost by that: what is finished is on the disk, and `kill -9` would do no more.

Work that answers an interrupt by a result (`core/ending.py`) is given its time; a second signal
ends it at once, too.
"""

from __future__ import annotations

import atexit
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from morphogen.core import ending

INTERRUPTED = 130
"""Exit code after Ctrl-C, SIGTERM or SIGHUP, as shells have it."""

GRACE = 5.0
"""Seconds from the first signal to the end, at most; an answer to it is not counted."""

AGAIN = 0.5
"""Seconds after the first signal from which another one ends the process at once; what comes
sooner is the same key, or the same signal sent to a whole group."""

PAUSE = 0.02
"""Seconds to wait before an interrupt that could not be raised comes again."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_QUIT, _LOST = b"\xff", b"\xfe"
"""To the thread that watches: nothing more to watch; an interrupt was dropped."""

_ADVICE: list[Callable[[], str]] = []
"""What the work that is going on has to say when it is interrupted, the innermost last."""

_GUARDS: list[Guard] = []
"""Those of the calls of `main` that are going on."""


@contextmanager
def advised(say: Callable[[], str]) -> Iterator[None]:
    """Within the context an interrupt says how to go on.

    Args:
        say: asked when it happens; may return nothing.
    """
    _ADVICE.append(say)
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt) or came()):
            raise
        said = isinstance(error, KeyboardInterrupt) and error.args
        raise KeyboardInterrupt(*(error.args if said else [say()])) from None
    finally:
        _ADVICE.pop()


def came() -> bool:
    """Whether this process was told to end: what fails from then on fails for that reason."""
    return any(guard.first is not None for guard in _GUARDS)


def sentence(advice: str) -> str:
    """What is printed of an interrupt."""
    return f"interrupted; {advice}" if advice else "interrupted"


class Guard:
    """Answers the signals of one call of `main`.

    Args:
        alone: whether the process is ours, to be ended if need be.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self.first: float | None = None
        """When the first signal came."""
        self.signum = int(signal.SIGINT)
        self._armed = False
        self._lost = False
        self._code: int | None = None
        self._wake = -1
        self._resent = 0
        """Signals of our own making."""

    def arm(self) -> None:
        """From here to `over` a signal raises `KeyboardInterrupt`, also one that came before."""
        self._armed = True
        if self.first is not None:
            raise KeyboardInterrupt

    def over(self, code: int) -> None:
        """The work has ended: a signal raises nothing any more, and its exit code is known."""
        self._code = code

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """The handler."""
        now = time.monotonic()
        if self._code is not None:
            if self.alone and (self.first is None or now - self.first > AGAIN):
                os._exit(self._code)
            return
        again = self.first is not None and not self._lost
        if self.first is None:
            self.first, self.signum = now, signum
        self._lost = False
        if not self._armed:
            return
        if not again:
            if self.alone and _importing(frame):
                self.dropped()
                return
            raise KeyboardInterrupt
        if now - (self.first or now) > AGAIN:
            if self.alone:
                self.end()
            raise KeyboardInterrupt

    def dropped(self) -> None:
        """An interrupt came where it cannot be raised, and has to come again."""
        self._lost = True
        with suppress(OSError):
            os.write(self._wake, _LOST)

    def watch(self, ear: int, wake: int) -> None:
        """The thread: wait for the first signal, then for the end of the process.

        Args:
            ear: gets a byte for every signal, whatever the main thread is doing.
            wake: its other end.
        """
        self._wake = wake
        began: float | None = None
        while True:
            left = None if began is None else self._left(began)
            if not select.select([ear], [], [], left)[0]:
                if began is not None and self._left(began) <= 0:
                    self.end()
                continue
            byte = os.read(ear, 1)
            if byte == _QUIT:
                return
            if byte == _LOST:
                time.sleep(PAUSE)
                main = threading.main_thread().ident
                if main is not None:
                    self._resent += 1
                    signal.pthread_kill(main, self.signum)
            elif byte[0] not in SIGNALS:
                continue
            elif self._resent:
                self._resent -= 1
            elif began is None:
                began = time.monotonic()
            elif self._code is None and time.monotonic() > began + AGAIN:
                self.end()  # also of a native call, in which no handler is called

    def _left(self, began: float) -> float:
        """Seconds that the process has left, since a signal that came then."""
        busy = ending.busy_until()
        return GRACE if busy == math.inf else max(0.0, max(began, busy) + GRACE - time.monotonic())

    def end(self) -> None:
        """End the process and those that it started, at once."""
        with suppress(Exception):
            if "multiprocessing" in sys.modules:
                import multiprocessing

                for child in multiprocessing.active_children():
                    child.kill()
        with suppress(Exception):
            if os.environ.get("MORPHOGEN_DEBUG"):
                import faulthandler

                faulthandler.dump_traceback(2)
        if self._code is None:
            with suppress(Exception):
                advice = _ADVICE[-1]() if _ADVICE else ""
                show = "\033[?25h\n" if os.isatty(2) else ""
                # Nobody may be reading, and then it would wait for ever.
                if select.select([], [2], [], 0.5)[1]:
                    os.write(2, f"{show}morphogen: {sentence(advice)}\n".encode())
        os._exit(INTERRUPTED)


@contextmanager
def caught(*, alone: bool) -> Iterator[Guard]:
    """Within the context signals go to the guard, those that nobody else has taken or ignores.

    Args:
        alone: whether the process is ours; then the guard stays to its end.
    """
    guard = Guard(alone=alone)
    if threading.current_thread() is not threading.main_thread():
        yield guard  # signals are not ours
        return
    free = (signal.SIG_DFL, signal.default_int_handler)
    before = {s: signal.getsignal(s) for s in SIGNALS}
    taken = {s: handler for s, handler in before.items() if handler in free}
    if alone:
        ear, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        threading.Thread(target=guard.watch, args=(ear, wake), daemon=True).start()
        sys.unraisablehook = _unless_interrupted(guard)
    for each in taken:
        signal.signal(each, guard.handle)
    _GUARDS.append(guard)
    try:
        yield guard
    finally:
        _GUARDS.remove(guard)
        if not alone:
            for each, handler in taken.items():
                signal.signal(each, handler)
        elif guard.first is None:
            with suppress(OSError):
                os.write(wake, _QUIT)


def leave(code: int) -> NoReturn:
    """End a process of our own that is done, without Python taking itself apart.

    That takes a second with torch in it, many on a busy machine, and may wait for threads that
    were interrupted. What has asked to be closed at the end is.
    """
    with suppress(Exception):
        atexit._run_exitfuncs()
    os._exit(code)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: there C libraries make an `ImportError` of anything."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unless_interrupted(guard: Guard) -> Callable[[Any], None]:
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            guard.dropped()
        else:
            usual(unraisable)

    return hook
