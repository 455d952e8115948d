"""Starts, watches, limits and ends FFmpeg processes on files; no other module does.

FFmpeg runs in a sandbox (``shared.media.ffmpeg.sandbox``) and within limits (``limits``), without
this program's environment, and with no standard input except what this program writes. It may read
only the descriptors or the loopback address that it is given (``shared.media.source.inputs``), and
the files of its job's directory.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self, cast

from shared.core.errors import (
    CancelledError,
    Code,
    PermanentError,
    TransientError,
)
from shared.media.ffmpeg.executable import executable
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.log import Log
from shared.media.ffmpeg.pipes import PIPE_SIZE, grow, reporting
from shared.media.ffmpeg.sandbox import Sandbox

#: The exit status of a program whose libraries the loader cannot load (ld.so(8)).
_NOT_LOADED = 127

#: FFmpeg allocates and frees a buffer for each packet. glibc keeps small freed blocks apart and
#: merges them at every larger request (``malloc_consolidate`` in its malloc/malloc.c), which is a
#: tenth of the processor time of a copy. Without such blocks (glibc manual, "Memory Allocation
#: Tunables") there is nothing to merge. Other C libraries ignore this.
_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}

#: How often limits are checked, in seconds.
_LOOK_EVERY_S = 0.2

#: The most memory that FFmpeg may ask for at once. The index of twelve hours of video needs 62 MB.
#: A rate that falls to 1 Hz on the way makes one frame of an hour of samples.
_MAX_ALLOC_BYTES = 256 << 20


class OwnInputError(TransientError):
    """FFmpeg failed on input that this program gave it."""


class Process:
    """One running FFmpeg, started by ``Job.start``."""

    def __init__(
        self, popen: subprocess.Popen[bytes], job: Job, *, ours: bool, pulse: BinaryIO | None
    ) -> None:
        self._popen = popen
        self._job = job
        self._ours = ours
        self._interrupted = False
        self.log = Log()
        assert popen.stderr is not None
        self._lines = io.BufferedReader(cast(io.RawIOBase, popen.stderr))
        self._pulse = pulse
        self._readers = [threading.Thread(target=self.log.read, args=(self._lines,), daemon=True)]
        if pulse:
            self._readers.append(
                threading.Thread(target=self._read_reports, args=(pulse,), daemon=True)
            )
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdin(self) -> int:
        """The descriptor to write FFmpeg's input to."""
        assert self._popen.stdin is not None
        return self._popen.stdin.fileno()

    @property
    def stdout(self) -> int:
        """The descriptor to read FFmpeg's output from."""
        assert self._popen.stdout is not None
        return self._popen.stdout.fileno()

    def close_stdin(self) -> None:
        """Signal the end of the input to FFmpeg."""
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._popen.stdin.close()

    def blocks(self, size: int = PIPE_SIZE) -> Iterator[bytes]:
        """Yield FFmpeg's standard output until it is closed."""
        while block := os.read(self.stdout, size):
            self._job.touch()
            yield block

    def _read_reports(self, reports: Iterable[bytes]) -> None:
        """Count each change of the reported time as progress."""
        last = b""
        for line in reports:
            if line.startswith(b"out_time_us=") and line != last:
                last = line
                self._job.touch()

    def wait(self) -> Log:
        """Wait for the end and return the log.

        Raises the error that stopped the job; ``TransientError`` after a signal, which is never
        the recording's fault; else the ``PermanentError`` that the exit status means.
        """
        self.log.status = status = self._popen.wait()
        self._close()
        if status:
            self._job.check()
            raise self._error(status)
        return self.log

    def interrupt(self) -> None:
        """Ask FFmpeg to end cleanly; call ``end`` afterwards."""
        self._interrupted = True
        with contextlib.suppress(ProcessLookupError):
            self._popen.terminate()

    def end(self) -> Log:
        """Wait for the end of a process that may fail, and return its log.

        Raises the error that stopped the job, and ``TransientError`` when a signal from outside
        ended the process.
        """
        self.log.status = status = self._popen.wait()
        self._close()
        self._job.check()
        if status < 0 and not self._interrupted:
            raise _killed(-status)
        if self.log.was_signalled() and not self._interrupted:
            raise TransientError("FFmpeg was stopped by a signal")
        return self.log

    def _error(self, status: int) -> Exception:
        if status < 0:
            return _killed(-status)
        if status == _NOT_LOADED:
            return TransientError("FFmpeg cannot be started here: run audio-pipeline doctor")
        if self.log.was_signalled():
            return TransientError("FFmpeg was stopped by a signal")
        return OwnInputError(self.log.last_words()) if self._ours else self.log.error()

    def kill(self) -> None:
        """Kill the process if it is still running."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()

    def reap(self) -> None:
        """Kill, wait, and close every pipe. Idempotent."""
        self.kill()
        self._popen.wait()
        self._close()

    def _close(self) -> None:
        """Read the rest of the log and reports, and close our ends of the pipes."""
        for reader in self._readers:
            reader.join()
        for pipe in (self._popen.stdin, self._popen.stdout, self._lines, self._pulse):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _killed(number: int) -> Exception:
    if number == signal.SIGXCPU:
        return PermanentError(Code.TIMEOUT, "FFmpeg used up its processor time on this file")
    if number == signal.SIGXFSZ:
        return TransientError("the disk is full: free some space and try again")
    if number == signal.SIGSYS:  # the sandbox stopped it; no file in good order comes here
        return PermanentError(Code.CORRUPT, "the file made FFmpeg do what it never does")
    return TransientError(f"FFmpeg was ended by {signal.Signals(number).name}")


class Job:
    """All FFmpeg processes of one piece of work; leaving its context ends them.

    A watchdog kills them after ``limits.stall_s`` without progress, after ``limits.wall_s`` in
    total, or when ``cancelled`` returns ``True``. Time in which this process was frozen itself
    does not count. They may read and write files only in ``directory``.
    """

    def __init__(
        self,
        limits: Limits,
        cancelled: Callable[[], bool] = lambda: False,
        directory: Path | None = None,
    ) -> None:
        self._limits = limits
        self._directory = directory
        self._wall_s = limits.wall_s
        self._cancelled = cancelled
        self._processes: list[Process] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._started = self._moved = time.monotonic()
        self.stopped: Exception | None = None
        self._watchdog = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watchdog.join()
        with self._lock:
            processes = list(self._processes)
        for process in processes:
            process.reap()

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = False,
        fds: Iterable[int] = (),
        ours: bool = False,
        level: str = "verbose",
        slot: int | None = None,
        pulse: bool = False,
        port: int | None = None,
    ) -> Process:
        """Start FFmpeg in its sandbox.

        Args:
            arguments: All after the general options.
            stdin: Whether to open a pipe to its standard input.
            stdout: Whether to open a pipe from its standard output.
            fds: Descriptors that it inherits.
            ours: Whether this program made its input, so that a failure is not the recording's.
            level: Log level. FFmpeg prints counts at verbose only, at which some filters print a
                line per packet.
            slot: Keeps the process on one processor (``shared.media.ffmpeg.affinity``).
            pulse: Whether its progress reports count as progress, for a process that writes
                rarely.
            port: The TCP port that it may connect to.
        """
        self.check()
        command = [
            executable(),
            "-hide_banner",
            "-nostats",
            "-loglevel",
            f"repeat+level+{level}",
            "-max_alloc",
            str(_MAX_ALLOC_BYTES),
            "-y",
        ]
        if not stdin:
            command.append("-nostdin")
        sandbox = Sandbox(directory=self._directory, port=port, slot=slot)
        with reporting(pulse) as (reports, fd):
            popen = sandbox.start(
                [*command, *(_reports_to(fd) if fd else ()), *arguments],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_ENVIRONMENT,
                pass_fds=(*fds, *((fd,) if fd else ())),
                start_new_session=True,  # Ctrl-C reaches this program only, which stops FFmpeg
            )
        self._limits.apply(popen.pid, self._directory)
        for pipe in (popen.stdin, popen.stdout):
            grow(pipe)
        process = Process(popen, self, ours=ours, pulse=reports)
        with self._lock:
            self._processes.append(process)
        if self.stopped:
            process.kill()
        return process

    def run(self, arguments: Sequence[str]) -> Log:
        """Run FFmpeg on files that this program made, and wait for its end.

        It reports its progress, since it writes nothing to its standard output.
        """
        process = self.start([*_reports_to(1), *arguments], stdout=True, ours=True)
        for _ in process.blocks():
            pass
        return process.wait()

    def forget(self, process: Process) -> None:
        """Drop a process that has ended and been waited for."""
        with self._lock:
            self._processes.remove(process)

    def touch(self) -> None:
        """Record progress, for the watchdog."""
        self._moved = time.monotonic()

    def expect(self, duration_s: float) -> None:
        """Extend the time limit to what audio of this length needs.

        The first limit follows the container's length, which can be much too short.
        """
        self._wall_s = max(self._wall_s, 300 + 2 * duration_s)

    def check(self) -> None:
        """Raise the error that stopped the job, if any, such as ``CancelledError`` or a timeout."""
        if self.stopped:
            raise self.stopped

    def stop(self, reason: Exception) -> None:
        """Kill every process; ``check`` raises ``reason`` from now on."""
        with self._lock:
            self.stopped = self.stopped or reason
            processes = list(self._processes)
        for process in processes:
            process.kill()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            if (frozen_s := now - looked - _LOOK_EVERY_S) > _LOOK_EVERY_S:
                # Not FFmpeg's: this process did not run either, or got no processor.
                self._started += frozen_s
                self._moved += frozen_s
            looked = now
            reason = self._reason()
            if reason:
                self.stop(reason)
                return

    def _reason(self) -> Exception | None:
        if self._cancelled():
            return CancelledError("stopped on request")
        now = time.monotonic()
        if now - self._moved > self._limits.stall_s:
            return PermanentError(
                Code.TIMEOUT, f"FFmpeg made no progress for {self._limits.stall_s:.0f} s"
            )
        if now - self._started > self._wall_s:
            return PermanentError(Code.TIMEOUT, f"the work took longer than {self._wall_s:.0f} s")
        return None


def _reports_to(fd: int) -> tuple[str, ...]:
    return "-progress", f"pipe:{fd}", "-stats_period", "0.2"
