"""Tables of packets, as FFmpeg's ``framecrc`` muxer prints them: times, durations, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from shared.media.ffmpeg import Job
from shared.ports import OnProgress

_COLUMNS = ("stream", "dts", "pts", "duration", "size")


def arguments(stream: int | str) -> list[str]:
    """Return the output that prints the packets of a stream to standard output."""
    return ["-map", f"0:{stream}", "-c", "copy", "-f", "framecrc", "pipe:1"]


def first_frame_arguments(stream_index: int, fd: int) -> list[str]:
    """Return the output that prints the first decoded frame of a stream to ``fd``."""
    return ["-map", f"0:{stream_index}", "-frames:a", "1", "-f", "framecrc", f"pipe:{fd}"]


@dataclass(frozen=True, kw_only=True)
class Packets:
    """The sum of a table. ``first_s`` is the first packet's time in seconds.

    ``duration_s`` adds up the packets' own durations, so that a gap does not count; what
    lies before zero is the encoder's delay, which a decoder leaves out. ``span_s`` is from
    the first packet's time, or zero, to the last one's end.
    """

    count: int
    first_s: float
    duration_s: float
    span_s: float


def rows(blocks: Iterator[bytes]) -> Iterator[tuple[float, float, int]]:
    """Yield time and duration in seconds, and size in bytes, of each packet of a table."""
    base, rest = Fraction(1), b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"#"):
                base = _time_base(line) or base
            else:
                _, _, pts, duration, size, *_ = line.split(b",", 5)
                yield float(int(pts) * base), float(int(duration) * base), int(size)


def read(blocks: Iterator[bytes], job: Job, on_time: OnProgress) -> Packets:
    """Add up a table as it is printed; ``on_time`` is told how many seconds are done."""
    base, rest = Fraction(1), b""
    count = ticks = end = 0
    first: int | None = None
    for block in blocks:
        job.touch()
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"#"):
                base = _time_base(line) or base
                continue
            _, _, pts, duration, _ = line.split(b",", 4)
            first = int(pts) if first is None else first
            count += 1
            ticks += int(duration)
            end = int(pts) + int(duration)
        on_time(float(ticks * base))
    delay = max(0, -(first or 0))
    return Packets(
        count=count,
        first_s=float(max(0, first or 0) * base),
        duration_s=float(max(0, ticks - delay) * base),
        span_s=float((end - max(0, first or 0)) * base),
    )


def first_time(table: bytes) -> float | None:
    """Return the time of the first frame of a table in seconds, ``None`` when it is empty."""
    base = Fraction(1)
    for line in table.splitlines():
        if line.startswith(b"#"):
            base = _time_base(line) or base
        else:
            return float(int(line.split(b",")[_COLUMNS.index("pts")]) * base)
    return None


def _time_base(line: bytes) -> Fraction | None:
    """Read ``#tb 0: 1/48000``."""
    if not line.startswith(b"#tb "):
        return None
    return Fraction(line.partition(b":")[2].strip().decode())
