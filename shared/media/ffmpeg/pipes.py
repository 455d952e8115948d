"""Large pipes to and from FFmpeg."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import BinaryIO

#: Bytes of one read or write of a pipe, and the size of the pipes' buffers.
PIPE_SIZE = 1 << 20


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything to a pipe; raises ``BrokenPipeError`` when its reader has closed it.

    ``communicate()`` writes only 4 KiB at a time.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def grow(pipe: object) -> None:
    """Enlarge a pipe's buffer to a block, so that neither side waits for the other at each page."""
    if pipe is None or sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415

    with suppress(OSError):  # over the user's limit; then it is only slower
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)  # type: ignore[attr-defined]


class Collector:
    """Reads a pipe to its end in a thread, and keeps its first ``limit`` bytes and one more.

    Without a reader, a process that writes more than the pipe's buffer waits for ever.
    """

    def __init__(self, pipe: BufferedReader, limit: int) -> None:
        self._pipe, self._limit = pipe, limit
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, name="collect", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while block := self._pipe.read1(PIPE_SIZE):
            self._kept += block[: self._limit + 1 - len(self._kept)]

    def result(self) -> bytes:
        """Wait for the end of the pipe and return the bytes; end their writer first."""
        self._thread.join()
        return bytes(self._kept)


@contextmanager
def reporting(wanted: bool) -> Iterator[tuple[BinaryIO | None, int | None]]:
    """Yield both ends of a pipe for FFmpeg's reports: ours, and the one to pass on."""
    if not wanted:
        yield None, None
        return
    readable, writable = os.pipe()
    reports = os.fdopen(readable, "rb")
    try:
        yield reports, writable
    except BaseException:
        reports.close()
        raise
    finally:
        os.close(writable)
