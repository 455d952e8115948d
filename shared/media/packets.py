"""Tables of packets, as FFmpeg's ``framecrc`` muxer prints them: times, durations, sizes."""

from __future__ import annotations

import operator
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader

from shared.core.errors import Code, PermanentError, PipelineError
from shared.core.ports import OnProgress
from shared.media.ffmpeg.process import Job
from shared.media.presets import GATHERED

_FLAGS = re.compile(rb"F=0x([0-9A-Fa-f]+)")
_DISCARD = 0x4  # AV_PKT_FLAG_DISCARD of libavcodec/packet.h
#: The side data of a packet of which samples are cut off (libavformat/framecrcenc.c).
_TRIMMED = b"Skip Samples"

#: The most packets of any recording: half a day of packets of 2.5 ms, the shortest of Opus.
MAX_PACKETS = 20_000_000
#: The most different pairs of a packet's step and duration. Jitter makes some thousand of them.
_MAX_STEPS = 1 << 16

_COLUMNS = ("stream", "dts", "pts", "duration", "size")
#: These and a checksum; flags and side data are further ones, where there are any.
_PLAIN_COLUMNS = 6


def arguments(stream: int | str) -> list[str]:
    """Return the output that prints the packets of a stream to standard output.

    They come some hundred at a time, so progress has to be seen elsewhere.
    """
    return ["-map", f"0:{stream}", "-c", "copy", *GATHERED, "-f", "framecrc", "pipe:1"]


def first_frame_arguments(stream_index: int, fd: int) -> list[str]:
    """Return the output that prints the first decoded frame of a stream to ``fd``."""
    return ["-map", f"0:{stream_index}", "-frames:a", "1", "-f", "framecrc", f"pipe:{fd}"]


#: The times of a copied stream: it starts at zero or, by the encoder's delay, before, and
#: a gap or a jump of the clock is closed. Live streams, joined files and broken muxers have
#: jumps of hours, in both directions, which no container should repeat.
_START = "if(eq(N,0),min(if(eq(PTS,NOPTS),0,PTS),0),PREV_OUTPTS+"
_STEP = "if(between(PTS-PREV_INPTS,0,4*DURATION+1/TB),PTS-PREV_INPTS,max(DURATION,1))"

#: The last time in an Ogg cuts off the samples behind it (RFC 7845, 4.4), so that Opus lasts as
#: long as its packets, whatever their times. Matroska's milliseconds cannot count 2.5 ms.
_OPUS_STEP = f"if(gt(PREV_OUTDURATION*TB,0.004),PREV_OUTDURATION,{_STEP})"


def without_gaps(codec: str) -> str:
    """Return the filter that sets the times of a copied stream of this codec."""
    step = _OPUS_STEP if codec == "opus" else _STEP
    return f"setts=ts='{_START}{step})'"


@dataclass(frozen=True, kw_only=True)
class Packets:
    """The sum of a table. ``begin_s`` is the first packet's time in seconds, negative by the
    encoder's delay, ``first_s`` the same but never negative.

    ``duration_s`` adds up the packets' own durations, so that a gap does not count, without
    the encoder's delay, which a decoder leaves out. ``gapless_s`` is the end of the last packet
    with the times that ``without_gaps`` sets. ``last_s`` is the last packet's duration,
    ``discarded`` the number of packets that are never played: those outside an edit list, and
    empty ones, such as FFmpeg's FLAC encoder writes at the end of an AVI. ``early`` are those of
    them that start before zero. ``trimmed_inside`` is whether samples of a packet between the
    first and the last one are cut off: where one recording ends and a joined one begins.
    """

    count: int
    begin_s: float
    first_s: float
    duration_s: float
    gapless_s: float
    last_s: float
    discarded: int
    early: int
    trimmed_inside: bool


#: ``numbered`` puts three values into a packet's duration: its number, its own duration in ticks
#: of less than this, and in the lowest bit whether it is the last one. An expression is a double,
#: which is exact up to 2**53: enough for 33 million packets.
_MAX_TICKS = 1 << 27


def numbered() -> str:
    """Return the filter that drops all packets but the first and the last.

    ``outline`` reads the table of what is left, and still counts every packet: FFmpeg reads the
    whole file, and passes on only a part of it. The filter ``setts`` is one packet behind, so that
    it knows the last one by the missing time of the next (libavcodec/bsf/setts.c).
    """
    duration = f"2*(N*{_MAX_TICKS}+min(max(DURATION,0),{_MAX_TICKS - 1}))+eq(NEXT_PTS,NOPTS)"
    return f"setts=duration='{duration}',noise=drop='not(mod(duration,2))*gt(n,0)'"


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A file's packets at a glance: how many, of how many streams, and how long they last.

    Codec, rate and layout (FFmpeg's name, such as ``stereo``) are those of the first stream.
    ``span_s`` is from its first packet's time, or zero, to its last packet's end.
    """

    streams: int
    codec: str
    sample_rate: int
    layout: str
    count: int
    span_s: float


def outline(blocks: Iterator[bytes], job: Job) -> Outline:
    """Sum up the table of a file that went through ``numbered``."""
    header: dict[bytes, bytes] = {}
    streams, first, last, rest = 0, b"", b"", b""
    for block in blocks:
        job.touch()
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"#"):
                name, _, value = line[1:].partition(b": ")
                header[name] = value
                streams += name.startswith(b"codec_id")
            else:
                first, last = first or line, line
    count, begin, end = 0, 0, 0
    if first:
        begin = int(first.split(b",")[2])
        _, _, pts, duration, *_ = last.split(b",")
        number, ticks = divmod(int(duration) >> 1, _MAX_TICKS)
        count, end = number + 1, int(pts) + ticks
    base = Fraction(header.get(b"tb 0", b"1").strip().decode())
    return Outline(
        streams=streams,
        codec=header.get(b"codec_id 0", b"").decode(),
        sample_rate=int(header.get(b"sample_rate 0", b"0")),
        layout=header.get(b"channel_layout_name 0", b"").decode(),
        count=count,
        span_s=float((end - max(0, begin)) * base),
    )


def rows(blocks: Iterator[bytes], job: Job | None = None) -> Iterator[tuple[float, float, int]]:
    """Yield time and duration in seconds, and size in bytes, of each packet of a table.

    Raises ``PermanentError`` (``corrupt``) for more packets than any recording has.
    """
    # A ``Fraction`` for each packet would take most of the time.
    numerator, denominator, rest, count = 1, 1, b"", 0
    for block in blocks:
        if job:
            job.touch()
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"#"):
                if base := _time_base(line):
                    numerator, denominator = base.as_integer_ratio()
            else:
                _, _, pts, duration, size, *_ = line.split(b",", 5)
                count += 1
                _refuse_more(count, MAX_PACKETS)
                seconds = int(duration) * numerator / denominator
                yield int(pts) * numerator / denominator, seconds, int(size)


class IrregularTimesError(PipelineError):
    """The times of a stream are not those that ``without_gaps`` would set."""


def read(
    blocks: Iterator[bytes], job: Job, on_time: OnProgress, *, regular: bool = False
) -> Packets:
    """Add up a table as it is printed, and report to ``on_time`` how many seconds are done.

    Raises ``PermanentError`` (``corrupt``) for more packets than any recording has, and for times
    without any order; with ``regular``, ``IrregularTimesError`` as soon as ``without_gaps`` would
    have changed a time.
    """
    base, rest = Fraction(1), b""
    table, discarded, early, second = _Table(), 0, 0, 1.0
    trimmed: list[int] = []
    for block in blocks:
        job.touch()
        text, newline, rest = (rest + block).rpartition(b"\n")
        lines = text.split(b"\n") if newline and not table.add_lines(text, second) else ()
        for line in lines:
            if line.startswith(b"#"):
                base = _time_base(line) or base
                second = float(1 / base)
            else:
                _, dts, pts, duration, size, rest_of_line = line.split(b",", 5)
                table.add(int(pts), int(duration), second)
                if regular and (table.gapless != int(pts) or dts != pts):
                    raise IrregularTimesError(f"packet {table.count} is at {int(pts) * base} s")
                # Flags are printed only where they are not those of a key frame.
                flags = _FLAGS.search(rest_of_line)
                unplayed = flags and int(flags[1], 16) & _DISCARD
                discarded += bool(unplayed) or not int(size)
                early += bool(unplayed) and int(pts) < 0
                if _TRIMMED in rest_of_line and len(trimmed) < 3:
                    trimmed.append(table.count)
        on_time(float(table.done * base))
    start = max(0, table.first)
    return Packets(
        count=table.count,
        begin_s=float(table.first * base),
        first_s=float(start * base),
        duration_s=float(base * (table.duration() - table.delay())),
        gapless_s=float(base * (table.gapless + table.last)),
        last_s=float(base * table.last),
        discarded=discarded,
        early=early,
        trimmed_inside=bool(set(trimmed) - {1, table.count}),
    )


#: A packet that lasts so many times what packets do is followed by a gap.
_GAP = 4
#: An encoder's delay is no longer than so many packets (Opus: 80 ms and its look-ahead).
_DELAY_PACKETS = 40
#: Share of the packets that must have one duration for all to count as alike.
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
        self.gapless: int = 0
        self._last = (0, 0)
        self._steps: Counter[tuple[int, int]] = Counter()

    def add(self, pts: int, duration: int, second: float) -> None:
        """Take the next packet; a ``second`` is in ticks, like the rest."""
        if self.count:
            before, lasting = self._last
            step = pts - before
            self._steps[step, lasting] += 1
            self.gapless += step if 0 <= step <= 4 * duration + second else max(duration, 1)
        else:
            self.first, self.gapless = pts, min(pts, 0)
        self.count += 1
        _refuse_more(self.count, MAX_PACKETS)
        _refuse_more(len(self._steps), _MAX_STEPS)
        self.done += min(duration, _GAP * (self._last[1] or duration))
        self.end = pts + duration
        self._last = (pts, duration)

    def add_lines(self, text: bytes, second: float) -> bool:
        """Take many lines at once, in a third of the time; ``False`` if that would be another sum.

        It is where each line follows the one before without a gap, and has neither flags nor a
        decoding time of its own.
        """
        columns = text.replace(b"\n", b",").split(b",")
        if len(columns) != _PLAIN_COLUMNS * (text.count(b"\n") + 1) or not self.count:
            return False
        _, dts, pts, durations, sizes, _ = (columns[n::6] for n in range(6))
        before, lasting = self._last
        times, lengths = [before, *map(int, pts)], [lasting, *map(int, durations)]
        steps = list(map(operator.sub, times[1:], times))
        shortest = min(lengths)
        if (
            dts != pts
            or not all(map(int, sizes))
            or min(steps) < 0
            or max(steps) > 4 * shortest + second
            or not max(lengths) <= _GAP * shortest
        ):
            return False
        self._steps.update(zip(steps, lengths, strict=False))
        self.gapless += times[-1] - before
        self.count += len(steps)
        _refuse_more(self.count, MAX_PACKETS)
        _refuse_more(len(self._steps), _MAX_STEPS)
        self.done += sum(lengths) - lasting
        self.end = times[-1] + lengths[-1]
        self._last = (times[-1], lengths[-1])
        return True

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
        """Return the time before zero: the encoder's delay, unless it is absurd."""
        most = min(self.end, _DELAY_PACKETS * self._typical()) if self._steps else 0
        return -self.first if -most < self.first < 0 else 0

    @property
    def last(self) -> int:
        """The duration of the last packet."""
        return self._last[1]

    def _typical(self) -> int:
        """Return the median of the steps from packet to packet."""
        seen, half = 0, (self.count - 1) / 2
        for (step, _), n in sorted(self._steps.items()):
            seen += n
            if seen >= half:
                return step
        raise AssertionError("the median of nothing")


def _refuse_more(count: int, most: int) -> None:
    if count > most:
        raise PermanentError(
            Code.CORRUPT, "it has more packets, or less order in their times, than any recording"
        )


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


class FrameReader:
    """Reads a second table beside the one on standard output, so that neither pipe fills up."""

    def __init__(self, pipe: BufferedReader) -> None:
        self._seconds: list[float] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: BufferedReader) -> None:
        try:
            blocks = iter(lambda: pipe.read1(1 << 16), b"")
            self._seconds = [seconds for _, seconds, _ in rows(blocks)]
        except BaseException as error:  # it is raised again by result()
            self._error = error

    def result(self) -> list[float]:
        """Return the duration of each frame in seconds, after the process has closed the pipe."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._seconds
