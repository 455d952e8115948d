"""Reads FFmpeg's standard error, and translates its errors.

The counts at the end are read from here. Each line has its level as a prefix (``-loglevel level``),
so that the level is never guessed, and names or metadata cannot pose as FFmpeg's own lines.
"""

from __future__ import annotations

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
    r"^ +Input stream #(?P<file>\d+):(?P<stream>\d+) \(audio\): "
    r"(?P<packets>\d+) packets read \((?P<bytes>\d+) bytes\);"
    r"(?: (?P<frames>\d+) frames decoded; (?P<errors>\d+) decode errors"
    r" \((?P<samples>\d+) samples\);)?"
)

_DECODE_ERRORS = ("Error submitting packet to decoder", "Decoding error")
_CORRECTED = re.compile(r"^Correcting start time of Input #0 by (-?\d+) us")
_GAVE_UP = "Error during demuxing: Not yet implemented"

_MEANINGS: tuple[tuple[str, Code, str], ...] = (
    (
        "ormat not on whitelist",
        Code.NOT_A_RECORDING,
        "this is not a recording but a kind of file that is never opened, such as a playlist",
    ),
    (
        "rotocol not on whitelist",
        Code.NOT_A_RECORDING,
        "this file points at other files or addresses, which are never opened",
    ),
    ("matches no streams", Code.CORRUPT, "the file has no index, so its content cannot be read"),
    ("Decoder not found", Code.UNSUPPORTED_CODEC, "there is no decoder for its audio"),
    ("no decoder found", Code.UNSUPPORTED_CODEC, "there is no decoder for its audio"),
    (
        "Error while opening decoder",
        Code.UNSUPPORTED_CODEC,
        "the decoder does not support this form of its audio",
    ),
    ("moov atom not found", Code.CORRUPT, "the file has no index, so its content cannot be read"),
    (
        "Cannot allocate memory",
        Code.CORRUPT,
        "the file needs more memory than any recording should",
    ),
    ("Invalid data found", Code.CORRUPT, "the file is damaged, or not a recording"),
)
#: The error that ends FFmpeg when it only describes its input.
OPENED = "At least one output file must be specified"
_DISK_FULL = "No space left on device"
_ENCODER = "Error while opening encoder"


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
        #: Number of packets that a decoder rejected.
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
                self._errors.append(match["text"])
                self.decode_errors += match["text"].startswith(_DECODE_ERRORS)

    def texts(self, level: str) -> list[str]:
        """Return the lines of one level, without their prefixes."""
        matches = (_LINE.match(line) for line in [*self._head, *self._tail])
        return [match["text"] for match in matches if match and match["level"] == level]

    def errors(self) -> list[str]:
        """Return the last lines of level error and above."""
        return list(self._errors)

    def says(self, words: str) -> bool:
        """Return whether a line that was kept contains ``words``."""
        return any(words in line for line in [*self._head, *self._tail])

    def last_words(self) -> str:
        """Return the last error, for people."""
        return self._errors[-1] if self._errors else "FFmpeg failed and printed no error"

    def input_counts(self) -> InputCounts | None:
        """Return what FFmpeg read from the first input's audio stream.

        FFmpeg prints this at the end and no text of the file after it, so the last lines of this
        form are genuine.
        """
        best: InputCounts | None = None
        for text in self.texts("verbose"):
            if text.startswith("Input file #0 "):
                best = None
            elif match := _INPUT_STREAM.match(text):
                counts = InputCounts(
                    packets=int(match["packets"]),
                    bytes=int(match["bytes"]),
                    frames=int(match["frames"] or 0),
                    errors=int(match["errors"] or 0),
                    samples=int(match["samples"] or 0),
                )
                best = counts if best is None or counts.packets > best.packets else best
        return best

    def demuxer_gave_up(self) -> bool:
        """Return whether the demuxer stopped at something that it does not support.

        For example an Ogg file whose second part has other channels: FFmpeg stops there and exits
        with success.
        """
        return any(_GAVE_UP in text for text in self._errors)

    def no_packets(self) -> PermanentError:
        """Return the error for a track without a packet."""
        if self.says("Skipped opening external track"):
            return PermanentError(
                Code.NOT_A_RECORDING, "its audio is in another file, and those are never opened"
            )
        return PermanentError(Code.NO_AUDIO, "its audio track is empty")

    def container_is_damaged(self) -> bool:
        """Return whether FFmpeg found damage in the container rather than in the audio."""
        lines = (_LINE.match(line) for line in [*self._head, *self._tail])
        return any(
            match["level"] == "error" and match["context"].startswith("[in#")
            for match in lines
            if match
        )

    def start_correction_s(self) -> float:
        """Return by how many seconds FFmpeg corrected the start time of the streams in use."""
        matches = map(_CORRECTED.match, self.texts("verbose"))
        return sum(int(match[1]) for match in matches if match) / 1e6

    def error(self) -> PipelineError:
        """Return the error that FFmpeg's last errors mean."""
        printed = "\n".join(self._errors)
        if _DISK_FULL in printed:
            return TransientError("the disk is full: free some space and try again")
        if _ENCODER in printed:
            return TransientError(f"the audio could not be written: {self.last_words()}")
        for words, code, message in _MEANINGS:
            if words in printed:
                return PermanentError(code, message)
        if OPENED not in printed:
            log.warning("FFmpeg cannot read a file: %s", self.last_words())
        return PermanentError(Code.CORRUPT, "the file is damaged and cannot be read")
