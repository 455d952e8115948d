"""Ctrl-C and requests to end: the first asks the work to stop in order, the second insists."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether we were asked to stop. Threads may share it."""

    def __init__(self) -> None:
        self._asked = False
        # Not an Event: its lock may be held by the very code that the handler interrupts.
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._writable, False)

    def requested(self) -> bool:
        """Tell whether we were asked to stop."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait, or less if asked to stop; tells whether we were."""
        if not self._asked:
            select.select([self._readable], [], [], max(0.0, seconds))
        return self._asked

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take the signals inside the block; a second one raises ``KeyboardInterrupt``."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:
            del before[signal.SIGHUP]  # nohup: the terminal may go, the work stays
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        os.write(self._writable, b"x")
