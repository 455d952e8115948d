"""The entry point of every process that ``serve`` starts: ``python -m cli.child KIND …``.

Standard input is a pipe from the parent. When the parent dies, however it dies, the pipe
ends and the process asks itself to stop, so that nothing is left behind without a parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

from shared.core.kernel import hide_process

#: Where systemd's protocol passes listening sockets, which gunicorn follows: it takes the
#: socket as it is, and does not remove its path when it ends (sd_listen_fds(3)).
_LISTEN_FD = 3


def _follow_parent() -> None:
    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    # The thread inherits a mask that blocks SIGTERM: in a worker that signal is waited for by
    # ``shared.runtime.shutdown``, and any thread that accepts it would take it away.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=wait, name="parent", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_program(arguments: list[str]) -> NoReturn:
    """Run a program that knows nothing of its parent, and kill it at SIGTERM."""
    # Blocked until there is a process to kill, so that none is left behind.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    program = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: program.kill())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sys.exit(program.wait())


def main() -> None:
    """Run a function, the front, one of the commands, or another program."""
    hide_process()
    kind, *arguments = sys.argv[1:]
    _follow_parent()
    if kind == "program":
        _run_program(arguments)
    os.register_at_fork(after_in_child=_follow_parent)  # gunicorn's worker
    if kind == "command":
        from cli.main import main as run_command  # noqa: PLC0415

        run_command(arguments)
    number = int(os.environ.pop("SERVE_SOCKET_FD"))
    os.dup2(number, _LISTEN_FD)
    if number != _LISTEN_FD:
        os.close(number)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.environ.pop("NOTIFY_SOCKET", None)  # only the parent reports to systemd
    if kind == "front":
        from cli.serve.front import run  # noqa: PLC0415

        run()
    else:
        from functions_framework._cli import _cli  # noqa: PLC0415 - as its program does

        source, target = arguments
        # The address is not used: gunicorn prefers the socket that it is given.
        _cli(["--source", source, "--target", target, "--host", "127.0.0.1", "--port", "0"])


if __name__ == "__main__":
    main()
