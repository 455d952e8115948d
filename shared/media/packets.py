"""Tables of packets, as FFmpeg's ``framecrc`` muxer prints them: times, durations, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from shared.core.ports import OnProgress
from shared.media.ffmpeg.process import Job
from shared.media.presets import GATHERED

_COLUMNS = ("stream", "dts", "pts", "duration", "size")


def arguments(stream: int | str) -> list[str]:
    """Return the output that prints the packets of a stream to standard output.

    Some hundred at once, so that it takes another one to tell whether anything moves.
    """
    return ["-map", f"0:{stream}", "-c", "copy", *GATHERED, "-f", "framecrc", "pipe:1"]


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
    table = _Table()
    for block in blocks:
        job.touch()
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"#"):
                base = _time_base(line) or base
            else:
                _, _, pts, duration, _ = line.split(b",", 4)
                table.add(int(pts), int(duration))
        on_time(float(table.done * base))
    start = max(0, table.first)
    return Packets(
        count=table.count,
        first_s=float(start * base),
        duration_s=float(base * (table.duration() - table.delay())),
        span_s=float((table.end - start) * base),
    )


#: A packet that lasts so many times what packets do is followed by a gap.
_GAP = 4
#: An encoder's delay is no longer than so many packets (Opus: 80 ms and its look-ahead).
_DELAY_PACKETS = 40
#: Share of the packets that must last the same to say that all do.
_CONSTANT = 0.9


class _Table:
    """Times and durations of packets, in ticks, added up without their gaps.

    Neither column can be trusted alone: Matroska rounds durations to milliseconds, which
    is 1.6 % of an AAC packet, and an MP4 lengthens the packet before a gap.
    """

    def __init__(self) -> None:
        self.first: int = 0
        self.end: int = 0
        self.count: int = 0
        self.done: int = 0
        self._last = (0, 0)
        self._steps: Counter[tuple[int, int]] = Counter()

    def add(self, pts: int, duration: int) -> None:
        """Take the next packet."""
        if self.count:
            before, lasting = self._last
            self._steps[pts - before, lasting] += 1
        else:
            self.first = pts
        self.count += 1
        self.done += min(duration, _GAP * (self._last[1] or duration))
        self.end = pts + duration
        self._last = (pts, duration)

    def duration(self) -> Fraction:
        """Return how long all packets last together."""
        last = Fraction(self._last[1])
        if not self._steps:
            return last
        typical = self._typical()
        near = [(step, n) for (step, _), n in self._steps.items() if abs(step - typical) <= 1]
        alike = sum(n for _, n in near)
        if alike >= _CONSTANT * (self.count - 1):
            exact = Fraction(sum(step * n for step, n in near), alike)
            return (self.count - 1) * exact + (last if last <= exact + 1 else exact)
        longest = _GAP * max(1, typical)
        return Fraction(
            sum(n * _within(one, longest, typical) for one, n in self._steps.items())
        ) + (last if last <= longest else typical)

    def delay(self) -> int:
        """Return how much lies before zero: the encoder's delay, unless it is absurd."""
        most = min(self.end, _DELAY_PACKETS * self._typical()) if self._steps else 0
        return -self.first if -most < self.first < 0 else 0

    def _typical(self) -> int:
        """Return the median of the steps from packet to packet."""
        seen, half = 0, (self.count - 1) / 2
        for (step, _), n in sorted(self._steps.items()):
            seen += n
            if seen >= half:
                return step
        raise AssertionError("the median of nothing")


def _within(step: tuple[int, int], longest: int, typical: int) -> int:
    """Return how long a packet lasts, by the step to the next one, or else by its own word."""
    to_next, lasting = step
    if 0 < to_next <= longest:
        return to_next
    return lasting if 0 < lasting <= longest else typical


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
