"""What FFmpeg says on standard error, and what its words mean.

There is no ffprobe in the bundle: the description of the input and the counts at the end
are read from here. Levels are asked for (``-loglevel level``), so that a line's standing
never has to be guessed, and names or metadata cannot pose as one of FFmpeg's own lines.
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

#: A broken file can make FFmpeg print without end: this many lines are kept of the
#: beginning (the description) and of the end (the counts).
_HEAD = 2000
_TAIL = 300

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
_REFUSED_CODEC = re.compile(r"^Codec \((\w+)\) not on whitelist")
_CORRECTED = re.compile(r"^Correcting start time of Input #0 by (-?\d+) us")
_WRITTEN = re.compile(r"\[info\] video:\d+KiB audio:(\d+)KiB ")

_MEANINGS: tuple[tuple[str, Code, str], ...] = (
    (
        "ormat not on whitelist",
        Code.NOT_A_RECORDING,
        "this is not a recording but a kind of file that is never opened (a playlist, say)",
    ),
    (
        "rotocol not on whitelist",
        Code.NOT_A_RECORDING,
        "this file points at other files or addresses, which are never opened",
    ),
    ("matches no streams", Code.NO_AUDIO, "there is no audio track in it"),
    ("Decoder not found", Code.UNSUPPORTED_CODEC, "there is no decoder for its audio"),
    ("no decoder found", Code.UNSUPPORTED_CODEC, "there is no decoder for its audio"),
    (
        "Error while opening decoder",
        Code.UNSUPPORTED_CODEC,
        "its audio is in a format that is not read",
    ),
    ("moov atom not found", Code.CORRUPT, "the file has no index, so nothing in it can be found"),
    ("Cannot allocate memory", Code.CORRUPT, "the file asks for more memory than any recording"),
    ("Invalid data found", Code.CORRUPT, "the file is damaged, or not a recording"),
)
#: What FFmpeg ends with that was only asked what its input is.
OPENED = "At least one output file must be specified"
_DISK_FULL = "No space left on device"
_ENCODER = "Error while opening encoder"


@dataclass(frozen=True, kw_only=True)
class InputCounts:
    """What FFmpeg read of one stream; ``samples`` are per channel, at the decoder's rate."""

    packets: int
    bytes: int
    frames: int
    errors: int
    samples: int


class Log:
    """The lines of one process, bounded."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._errors: deque[str] = deque(maxlen=50)
        self._lock = threading.Lock()
        #: How many packets a decoder refused.
        self.decode_errors = 0

    def read(self, stream: IO[bytes]) -> None:
        """Take every line of ``stream``, until it ends."""
        for raw in stream:
            self.add(raw.decode("utf-8", "replace").rstrip("\r\n"))

    def add(self, line: str) -> None:
        """Take one line."""
        match = _LINE.match(line)
        with self._lock:
            kept = self._head if len(self._head) < _HEAD else self._tail
            kept.append(line)
            if match and match["level"] in ("error", "fatal", "panic"):
                self._errors.append(match["text"])
                self.decode_errors += match["text"].startswith(_DECODE_ERRORS)

    def texts(self, level: str) -> list[str]:
        """Return the texts of one level, without their prefixes."""
        matches = (_LINE.match(line) for line in [*self._head, *self._tail])
        return [match["text"] for match in matches if match and match["level"] == level]

    def errors(self) -> list[str]:
        """Return the last lines of level error and above."""
        return list(self._errors)

    def says(self, words: str) -> bool:
        """Tell whether a line of the beginning or the end holds ``words``."""
        return any(words in line for line in [*self._head, *self._tail])

    def last_words(self) -> str:
        """Return the last error, for people."""
        return self._errors[-1] if self._errors else "FFmpeg failed without a word"

    def input_counts(self, file: int = 0) -> InputCounts | None:
        """Return what was read of the audio stream in use of input ``file``."""
        best: InputCounts | None = None
        for text in self.texts("verbose"):
            match = _INPUT_STREAM.match(text)
            if match and int(match["file"]) == file:
                counts = _counts(match)
                best = counts if best is None or counts.packets > best.packets else best
        return best

    def written_kib(self, output: int) -> int:
        """Return how much audio went into an output, in KiB."""
        mark = f"[out#{output}/"
        for line in self._head + list(self._tail):
            if line.startswith(mark) and (match := _WRITTEN.search(line)):
                return int(match[1])
        return 0

    def refused_codecs(self) -> set[str]:
        """Return the decoders that the white list keeps from being opened."""
        matches = map(_REFUSED_CODEC.match, self.texts("error"))
        return {match[1] for match in matches if match}

    def container_is_damaged(self) -> bool:
        """Tell whether the input's own structure, not its sound, was found to be broken."""
        lines = (_LINE.match(line) for line in [*self._head, *self._tail])
        return any(
            match["level"] == "error" and match["context"].startswith("[in#")
            for match in lines
            if match
        )

    def start_correction_s(self) -> float:
        """Return how much later than the file the streams in use start, where FFmpeg says so."""
        matches = map(_CORRECTED.match, self.texts("verbose"))
        return sum(int(match[1]) for match in matches if match) / 1e6

    def error(self) -> PipelineError:
        """Return the error that FFmpeg's last words stand for."""
        said = "\n".join(self._errors)
        if _DISK_FULL in said:
            return TransientError("the disk is full: free some space and try again")
        if _ENCODER in said:
            return TransientError(f"the audio could not be written: {self.last_words()}")
        for words, code, sentence in _MEANINGS:
            if words in said:
                return PermanentError(code, sentence)
        if OPENED not in said:
            log.warning("FFmpeg cannot read a file: %s", self.last_words())
        return PermanentError(Code.CORRUPT, "the file is damaged and cannot be read")


def _counts(match: re.Match[str]) -> InputCounts:
    return InputCounts(
        **{
            name: int(match[name] or 0)
            for name in ("packets", "bytes", "frames", "errors", "samples")
        }
    )
