from __future__ import annotations

import io
import tracemalloc

from shared.media.ffmpeg.log import Log


class Endless(io.RawIOBase):
    """A line of some hundred megabytes, made as it is read."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._left)
        buffer[:length] = b"a" * length
        self._left -= length
        return length


def test_a_line_without_an_end_is_cut() -> None:
    log = Log()
    tracemalloc.start()
    try:
        log.read(io.BufferedReader(Endless(300_000_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000  # a table of Python's own may grow by 4 MB meanwhile
    assert log.says("a" * 4000)


def test_lines_after_a_long_one_are_read() -> None:
    log = Log()

    long = b"[info] " + b"x" * 100_000 + b"[error] not this\n"
    log.read(io.BytesIO(long + b"[error] this\n[error] end"))

    assert log.errors() == ["this", "end"]


def test_a_million_lines_are_kept_in_part() -> None:
    log = Log()
    tracemalloc.start()
    try:
        log.read(io.BufferedReader(io.BytesIO(b"[error] again\n" * 300_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000  # all of them take 20 MB
    assert log.last_words() == "again"
