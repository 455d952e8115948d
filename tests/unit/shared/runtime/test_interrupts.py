"""Work in a thread of its own: what it gives back, and what an interrupt does to it."""

from __future__ import annotations

import signal
import threading
import time
from contextvars import ContextVar

import pytest

from shared.runtime.interrupts import run_interruptible

_field: ContextVar[str] = ContextVar("field", default="")


def never() -> None:
    raise AssertionError("nothing has interrupted it")


def test_the_result_of_the_work_is_returned() -> None:
    assert run_interruptible(lambda: 3, never, 0) == 3


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2)])
def test_an_error_of_the_work_is_raised(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_interruptible(work, lambda: None, 0)

    assert caught.value is error


def test_the_work_keeps_the_fields_of_the_log() -> None:
    token = _field.set("recording")
    try:
        assert run_interruptible(_field.get, never, 0) == "recording"
    finally:
        _field.reset(token)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_an_interrupt_stops_the_work_and_waits_for_its_end() -> None:
    stopped, done = threading.Event(), []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        assert stopped.wait(20)
        done.append("in order")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work, stopped.set, 20)

    assert done == ["in order"]


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_work_that_does_not_stop_is_not_waited_for() -> None:
    end = threading.Event()

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        end.wait(20)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work, lambda: None, 0.1)

    assert time.monotonic() - started < 10
    end.set()
