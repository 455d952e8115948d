"""Reads FFmpeg's standard error, and translates its errors.

Each line has its level as a prefix (``-loglevel level``). A name, a tag or a language can contain a
line break and imitate any such line, so only what no file can imitate decides: the exit status,
the first error, the last lines. Everything else is for people, or asks for a closer look
(``docs/adr/0026-copies-and-log-text.md``).
"""

from __future__ import annotations

import errno
import logging
import re
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO

from shared.core.errors import Code, PermanentError, PipelineError, TransientError

log = logging.getLogger(__name__)

#: A broken file can make FFmpeg print endlessly. This many lines are kept from the start (the
#: description of the input) and from the end (the counts).
_HEAD = 2000
_TAIL = 300
#: Bytes that are kept of a line: metadata can be one line of hundreds of megabytes.
_LINE_BYTES = 4096

_LINE = re.compile(
    r"^(?P<context>(?:\[[^\]]* @ 0x[0-9a-f]+\] )*)"
    r"\[(?P<level>panic|fatal|error|warning|info|verbose|debug)\] (?P<text>.*)$"
)
_INPUT_STREAM = re.compile(
    r"^ +Input stream #(?P<file>\d+):(?P<stream>\d+) \((?P<kind>\w+)\): "
    r"(?P<packets>\d+) packets read \((?P<bytes>\d+) bytes\);"
    r"(?: (?P<frames>\d+) frames decoded; (?P<errors>\d+) decode errors"
    r" \((?P<samples>\d+) samples\);)?"
)

_DECODE_ERRORS = ("Error submitting packet to decoder", "Decoding error")
_CORRECTED = re.compile(r"^Correcting start time of Input #0 by (-?\d{1,15}) us")
_DEMUXING = "Error during demuxing: "
_DURATION = "  Duration: "
#: FFmpeg prints these last, after all text of the file (``ffmpeg_parse_options`` in
#: fftools/ffmpeg_opt.c, ``ffmpeg_cleanup`` in fftools/ffmpeg.c).
_INPUT_FAILED, _OUTPUT_FAILED = "Error opening input", "Error opening output"
_SIGNALLED = "Exiting normally, received signal"
#: The format white list is checked before anything of the file is read, so this is the first error.
_FORMAT_REFUSED = "Format not on whitelist"

#: Exit statuses: the lowest byte of FFmpeg's error codes (libavutil/error.h), which ``main`` of
#: fftools/ffmpeg.c returns.
PATCHWELCOME = -ord("P") & 0xFF
_NO_SPACE, _NO_MEMORY = -errno.ENOSPC & 0xFF, -errno.ENOMEM & 0xFF
_UNSUPPORTED = frozenset({PATCHWELCOME, -errno.ENOSYS & 0xFF})
_NOT_FOUND = -0xF8 & 0xFF  # a decoder, a demuxer, an encoder
#: After a signal FFmpeg ends cleanly, with this status.
_SIGNAL_STATUS = 255


@dataclass(frozen=True, kw_only=True)
class InputCounts:
    """What FFmpeg read from one stream; ``samples`` are per channel, at the decoder's rate."""

    packets: int
    bytes: int
    frames: int
    errors: int
    samples: int


class Log:
    """The log of one process, limited in size."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._errors: deque[str] = deque(maxlen=50)
        self._lock = threading.Lock()
        self._first_error = ""
        self._durations: list[str] = []
        #: The exit status of a process that has ended.
        self.status: int | None = None
        #: How many lines report a packet that a decoder rejected. Of a file from outside, use
        #: ``input_counts``.
        self.decode_errors = 0

    def read(self, stream: IO[bytes]) -> None:
        """Add every line of ``stream``, long ones cut."""
        continues = False
        while raw := stream.readline(_LINE_BYTES):
            if not continues:
                self.add(raw.decode("utf-8", "replace").rstrip("\r\n"))
            continues = not raw.endswith(b"\n")

    def add(self, line: str) -> None:
        match = _LINE.match(line)
        with self._lock:
            kept = self._head if len(self._head) < _HEAD else self._tail
            kept.append(line)
            if match and match["level"] in ("error", "fatal", "panic"):
                self._first_error = self._first_error or match["text"]
                self._errors.append(match["text"])
                self.decode_errors += match["text"].startswith(_DECODE_ERRORS)
            elif match and match["text"].startswith(_DURATION) and len(self._durations) < 2:
                self._durations.append(match["text"])

    def texts(self, level: str) -> list[str]:
        """Return the lines of one level, without their prefixes."""
        matches = (_LINE.match(line) for line in [*self._head, *self._tail])
        return [match["text"] for match in matches if match and match["level"] == level]

    def errors(self) -> list[str]:
        """Return the last lines of level error and above."""
        return list(self._errors)

    def duration_line(self) -> str | None:
        """Return the line with the container's length, ``None`` where there are two.

        FFmpeg prints one, so the file has imitated it.
        """
        return self._durations[0] if len(self._durations) == 1 else None

    def was_signalled(self) -> bool:
        """Return whether a signal ended FFmpeg cleanly: its last line and its status show that."""
        last = [*self._head, *self._tail][-1:]
        return self.status == _SIGNAL_STATUS and any(_SIGNALLED in line for line in last)

    def says(self, words: str) -> bool:
        """Return whether a line that was kept contains ``words``, for wording only."""
        return any(words in line for line in [*self._head, *self._tail])

    def last_words(self) -> str:
        """Return the last error, for people."""
        return self._errors[-1] if self._errors else "FFmpeg failed and printed no error"

    def input_counts(self) -> InputCounts | None:
        """Return what FFmpeg read from the first input's audio stream."""
        audio = [counts for kind, counts in self._input_streams() if kind == "audio"]
        return max(audio, key=lambda counts: counts.packets, default=None)

    def bytes_read(self) -> int:
        """Return how many bytes the packets of all streams in use had."""
        return sum(counts.bytes for _, counts in self._input_streams())

    def _input_streams(self) -> list[tuple[str, InputCounts]]:
        """Return kind and counts of each stream of the first input.

        FFmpeg prints this at the end and no text of the file after it, so the last lines of this
        form are genuine.
        """
        found: list[tuple[str, InputCounts]] = []
        for text in self.texts("verbose"):
            if text.startswith("Input file #0 "):
                found = []
            elif match := _INPUT_STREAM.match(text):
                counts = InputCounts(
                    packets=int(match["packets"]),
                    bytes=int(match["bytes"]),
                    frames=int(match["frames"] or 0),
                    errors=int(match["errors"] or 0),
                    samples=int(match["samples"] or 0),
                )
                found.append((match["kind"], counts))
        return found

    def reports_demuxing_error(self) -> bool:
        """Return whether a line reports that the container could not be read to its end.

        A file can imitate it: reading it again with ``-xerror`` proves it.
        """
        return any(text.startswith(_DEMUXING) for text in self._errors)

    def reports_container_error(self) -> bool:
        """Return whether a line reports an error of the container. A file can imitate it."""
        lines = (_LINE.match(line) for line in [*self._head, *self._tail])
        return any(
            match["level"] == "error" and match["context"].startswith("[in#")
            for match in lines
            if match
        )

    def start_correction_s(self) -> float:
        """Return by how many seconds FFmpeg corrected the start time of the streams in use.

        A file can imitate it, so it is recorded, and decides nothing.
        """
        matches = map(_CORRECTED.match, self.texts("verbose"))
        return sum(int(match[1]) for match in matches if match) / 1e6

    def error(self) -> PipelineError:
        """Return the error that the exit status means; the log's text only words it."""
        if self.status == _NO_SPACE:
            return TransientError("the disk is full: free some space and try again")
        last = self._errors[-1] if self._errors else ""
        if last.startswith(_INPUT_FAILED) and self._first_error.startswith(_FORMAT_REFUSED):
            return PermanentError(
                Code.NOT_A_RECORDING,
                "this is not a recording but a kind of file that is never opened, such as a "
                "playlist",
            )
        if self.status == _NO_MEMORY:
            return PermanentError(Code.CORRUPT, "the file needs more memory than any recording")
        if self.status == _NOT_FOUND:
            return PermanentError(Code.UNSUPPORTED_CODEC, "there is no decoder for its audio")
        # Not of a failure on the way: which of several threads sets the status is chance.
        if last.startswith(_OUTPUT_FAILED) or (
            last.startswith(_INPUT_FAILED) and self.status in _UNSUPPORTED
        ):
            return PermanentError(
                Code.UNSUPPORTED_CODEC, "the decoder does not support this form of its audio"
            )
        log.warning("FFmpeg cannot read a file: %s", self.last_words())
        if last.startswith(_INPUT_FAILED):
            if self.says("moov atom not found"):
                message = "the file has no index, so its content cannot be read"
            else:
                message = "the file is damaged, or not a recording"
            return PermanentError(Code.CORRUPT, message)
        return PermanentError(Code.CORRUPT, "the file is damaged and cannot be read")
