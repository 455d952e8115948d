import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import pytest

from cli.stop import Stop


def test_the_first_signal_asks_and_the_second_insists() -> None:
    stop = Stop()
    with stop.on_signals():
        assert not stop.requested()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_it_reports_at_once_that_it_stops(capfd: pytest.CaptureFixture[str]) -> None:
    with Stop().on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert capfd.readouterr().err == "stopping; press Ctrl-C again to quit at once\n"


def test_a_second_signal_ends_a_cleanup_that_hangs() -> None:
    program = (
        "import time\nfrom cli.stop import Stop\n"
        "with Stop().on_signals():\n"
        "    print('ready', flush=True)\n"
        "    try:\n        time.sleep(60)\n    finally:\n        time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two signals at one moment are one

    assert process.wait(timeout=30) == 130
    process.stdout.close()


def test_waiting_ends_with_the_signal() -> None:
    stop = Stop()
    start = time.monotonic()
    with stop.on_signals():
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert stop.wait(30)
    assert time.monotonic() - start < 10


def test_a_wait_without_a_signal_just_passes() -> None:
    assert not Stop().wait(0.01)


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop().on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop().on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_is_one_stop_however_often_it_is_reported() -> None:
    program = (
        "import sys, time\nfrom cli.stop import Stop\n"
        "stop = Stop()\n"
        "with stop.on_signals():\n"
        "    print('ready', flush=True)\n"
        "    assert stop.wait(60)\n"
        "    time.sleep(0.5)\n"  # the second signal, of the shell
        "    print('written to nobody', flush=True)\n"
        "    print('written to nobody', file=sys.stderr, flush=True)\n"
        "    open(sys.argv[1], 'w').close()\n"
    )
    parent, child = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        ended = Path(folder) / "ended"
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(ended)],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child)
        assert os.read(parent, 100).startswith(b"ready")
        os.close(parent)  # the kernel sends SIGHUP
        time.sleep(0.2)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=30) == 0
        assert ended.exists()
