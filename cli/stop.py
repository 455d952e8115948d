"""Ctrl-C and SIGTERM: the first one stops the work cleanly, a second one quits."""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from cli import exits

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: How long a second signal waits for the cleanup before it ends the process.
_QUIT_AFTER_S = 1.0


class Stop:
    """Whether a stop was requested. Threads may share it."""

    def __init__(self) -> None:
        self._requested = False
        # Not an Event: the code that the handler interrupts may hold its lock.
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._writable, False)

    def requested(self) -> bool:
        return self._requested

    def wait(self, seconds: float) -> bool:
        """Wait, or less when a stop is requested; return whether it was."""
        if not self._requested:
            select.select([self._readable], [], [], max(0.0, seconds))
        return self._requested

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle the signals inside the block; a second one raises ``KeyboardInterrupt``."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:
            del before[signal.SIGHUP]  # nohup: the work outlives the terminal
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
            if self._requested:
                return  # both the kernel and a shell send it when a terminal closes
        if self._requested:
            # The cleanup may be blocked by a silent server; it gets one second.
            signal.signal(signal.SIGALRM, lambda *_: os._exit(exits.INTERRUPTED))
            signal.setitimer(signal.ITIMER_REAL, _QUIT_AFTER_S)
            raise KeyboardInterrupt
        self._requested = True
        os.write(self._writable, b"x")
        again = "; press Ctrl-C again to quit at once" if number == signal.SIGINT else ""
        # Below a progress bar if one is drawn there; not through a console: this may have
        # interrupted it while it held its lock.
        with suppress(OSError):
            clear = "\r\x1b[2K" if os.isatty(2) else ""
            os.write(2, f"{clear}stopping{again}\n".encode())


def _leave_terminal() -> None:
    """Send what is still written to nowhere: writing to a closed terminal fails with EIO."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with suppress(OSError):
            if _is_closed_terminal(number):
                os.dup2(nowhere, number)
    os.close(nowhere)


def _is_closed_terminal(number: int) -> bool:
    """Return whether writing to a descriptor fails because its terminal is gone.

    ``isatty`` is false for a terminal that hung up: its ioctl fails with EIO, and with ENOTTY
    for everything that never was one.
    """
    try:
        termios.tcgetattr(number)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
