"""Pipes to and from FFmpeg: large ones, written whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

#: Bytes moved by one read or write of a pipe; also the size that pipes are grown to.
PIPE_SIZE = 1 << 20


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything to a pipe; raises ``BrokenPipeError`` when its reader has gone.

    ``communicate()`` would feed it 4 KiB at a time.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def grow(pipe: object) -> None:
    """Make a pipe hold a block, so that neither side waits for the other at each page."""
    if pipe is None or sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415

    with suppress(OSError):  # over the user's limit: slower, not wrong
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)  # type: ignore[attr-defined]


@contextmanager
def reporting(wanted: bool) -> Iterator[tuple[BinaryIO | None, int | None]]:
    """Yield our end of a pipe for reports, and the end to hand down while the block runs."""
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
