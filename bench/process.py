"""What a command's process is to its surroundings: how signals end it, and that what nobody reads does not."""

from __future__ import annotations

import _thread
import atexit
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command; each as Ctrl-C does."""


class _Signals:
    """What has come so far.

    Attributes:
        came: whether any did.
        held: how many stretches of code are not to be interrupted now.
        waiting: whether one came meanwhile.
    """

    came = False
    held = 0
    waiting = False


_state = _Signals()


def interrupted() -> bool:
    """Whether a signal came, even if somebody's code swallowed the exception."""
    return _state.came


def check() -> None:
    """Raise ``KeyboardInterrupt`` if a signal came and somebody's code swallowed it."""
    if _state.came:
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Within it, signals wait until its end."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if _state.waiting and not _state.held:
            _state.waiting = False
            raise KeyboardInterrupt


def done() -> None:
    """From now on, until the end of :func:`surroundings`, signals change nothing any more."""
    _state.held += 1


@contextmanager
def _interruptible(*, last: bool) -> Iterator[None]:
    """Let the signals that end a process raise ``KeyboardInterrupt``; those that it was started to ignore stay ignored.

    Termination is never ignored: a program started in the background, where Ctrl-C is, has to end somehow.

    Args:
        last: whether the process ends afterwards: then signals stay without effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.came = _state.waiting = False
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in ENDING}
    hook = sys.unraisablehook

    def lost(unraisable: Any) -> None:
        # Raised where nothing can be raised, such as while an object is freed: once more, a moment later.
        if unraisable.exc_type is KeyboardInterrupt:
            again = threading.Timer(0.05, _thread.interrupt_main, (signal.SIGTERM,))
            again.daemon = True
            again.start()
        else:
            hook(unraisable)

    sys.unraisablehook = lost
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number is signal.SIGTERM:
            signal.signal(number, _came)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else signal.SIG_DFL if handler is None else handler)
        _state.came, _state.waiting, _state.held = False, False, 0
        sys.unraisablehook = hook


def _came(_number: int, _frame: object) -> None:
    _state.came = True
    if _state.held:
        _state.waiting = True
    else:
        raise KeyboardInterrupt


class _Stream:
    """A text stream that goes nowhere once it cannot be written: the other end is closed, or the disk is full."""

    def __init__(self, stream: TextIO, number: int) -> None:
        self._stream = stream
        self._number = number
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or do nothing."""
        with self._tolerant():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write them, or do nothing."""
        for each in lines:
            self.write(each)

    def flush(self) -> None:
        """Flush, or do nothing."""
        with self._tolerant():
            self._stream.flush()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            # What is still in the buffer is not to fail again when the interpreter ends.
            with suppress(OSError, ValueError):
                if self._stream.fileno() == self._number:
                    _into_nothing(self._number)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)


def _into_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
    os.set_inheritable(number, True)


def tolerate_streams() -> None:
    """Let standard output and error go nowhere where they are closed, or once they cannot be written."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would get the number, and be written by whatever prints.
            _into_nothing(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            stream = os.fdopen(number, "w", closefd=False)
        if not isinstance(stream, _Stream):
            setattr(sys, name, _Stream(stream, number))


@contextmanager
def surroundings(*, last: bool = False) -> Iterator[None]:
    """A command from its first word to its last: signals end it in order, and output that nobody takes does not end it.

    Args:
        last: whether the process ends afterwards.
    """
    stdout, stderr = sys.stdout, sys.stderr
    with _interruptible(last=last):
        tolerate_streams()
        try:
            yield
        finally:
            done()
            _streams_back(stdout, stderr)


def _streams_back(stdout: TextIO | None, stderr: TextIO | None) -> None:
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is not None and error.errno != errno.EPIPE:
        print(f"warning: standard output cannot be written: {error.strerror}", file=sys.stderr)
    sys.stderr.flush()
    if stdout is not None:
        sys.stdout = stdout
    if stderr is not None:
        sys.stderr = stderr


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    Python gives another code where an interruption passed through code that it had as text, such as a dataclass's. What
    is still to be ended has half a minute: worker processes end by themselves after this one.
    """
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(code))
    signal.alarm(30)
    atexit._run_exitfuncs()  # noqa: SLF001 - what would run at the end of the interpreter
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
