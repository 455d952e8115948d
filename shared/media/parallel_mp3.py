"""Encodes MP3 with several encoders side by side; the result has the bytes of a single encoder.

LAME is single-threaded and takes nearly all the time. The samples are cut by count into segments.
Each encoder gets one segment after another, and each segment starts some frames early; these
lead-in frames are dropped. After them the encoder's state must equal that of an encoder which
started at the beginning and got everything. Its longest memory is in silence: its hearing threshold
decreases by at most 7.5 % per frame over a range of 1,600, which takes 95 frames. This is checked:
the last lead-in frames must equal the end of the previous segment, else ``NotConvergedError`` asks
for a single encoder.

At 44.1 kHz the padding of frames has a period of 49, so all counts are multiples of 49.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from shared.core.errors import PipelineError, TransientError
from shared.media import presets
from shared.media.ffmpeg.pipes import write_all
from shared.media.ffmpeg.process import Job, Process
from shared.media.formats import mp3_frames
from shared.media.presets import Recipe

#: Frames in a block, the unit of cutting: the period of the padding at 44.1 kHz.
BLOCK_FRAMES = 49
#: Blocks encoded and dropped before a segment: 98 frames, of which 95 can be needed.
LEAD_BLOCKS = 2
#: Blocks of a segment: 113 s at 48 kHz, to which the lead-in adds 2 %. Segments are shorter
#: towards the end, so that all encoders end at about the same time.
SEGMENT_BLOCKS, SHORTEST_BLOCKS = 96, 12
#: Frames that must be equal on both sides of a seam.
AGREEING_FRAMES = 4


class NotConvergedError(PipelineError):
    """An encoder that started at a segment still differed from the previous one at the seam."""


class FrameSink(Protocol):
    """Receives the joined frames, in order."""

    def write(self, data: bytes, /) -> object:
        """Write some whole frames."""


@dataclass
class _Segment:
    """Samples for one encoder. ``None`` follows the last block.

    ``frames`` are all that its samples become, with those before and behind the ones to keep.
    """

    index: int
    lead_frames: int
    keep_frames: int | None = None  # set at its end, like ``frames``; None keeps all
    frames: int | None = None
    blocks: queue.SimpleQueue[memoryview | None] = field(default_factory=queue.SimpleQueue)


class ParallelEncoder:
    """Encodes raw samples from one descriptor into bare MP3 frames.

    ``workers`` encoders run side by side; a single one encodes everything as one segment.
    ``on_samples`` is called with the number of samples per channel read so far. ``expected_s`` is
    about how long the audio lasts; a wrong value makes no difference to the result.
    """

    def __init__(
        self,
        job: Job,
        recipe: Recipe,
        sample_format: str,
        workers: int,
        on_samples: Callable[[int], None] = lambda _: None,
        expected_s: float | None = None,
    ) -> None:
        self._job = job
        self._arguments = presets.mp3_encoder_arguments(recipe, sample_format)
        self._sample_bytes = recipe.channels * (2 if sample_format == "s16le" else 4)
        # An encoder goes on with another segment behind them, where the padding must fit.
        self._ahead_frames = BLOCK_FRAMES if recipe.sample_rate % 11025 == 0 else AGREEING_FRAMES
        block_samples = BLOCK_FRAMES * mp3_frames.samples_per_frame(recipe.sample_rate)
        self._block_bytes = block_samples * self._sample_bytes
        self._expected_blocks = int((expected_s or 0.0) * recipe.sample_rate / block_samples)
        self._workers = workers
        self._on_samples = on_samples
        self._segments: queue.SimpleQueue[_Segment | None] = queue.SimpleQueue()
        self._started: list[_Segment] = []
        # Blocks read but not yet encoded: one segment for each further encoder, and a few more.
        self._room = threading.Semaphore((workers - 1) * SEGMENT_BLOCKS + 12)
        self._spare: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._results = _Results()
        self.samples = 0

    def run(self, source: int, output: FrameSink) -> None:
        """Encode everything from the descriptor ``source``, writing frames in order.

        Raises ``NotConvergedError``, the error that stopped the job, or an encoder's error.
        """
        threads = [threading.Thread(target=self._guard, args=(self._read, source))]
        threads += [
            threading.Thread(target=self._guard, args=(self._work, slot))
            for slot in range(self._workers)
        ]
        started = []
        try:
            for thread in threads:
                started.append(thread)
                thread.start()
            self._results.write(output, self._job)
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            for thread in started:
                if thread.ident is not None:
                    thread.join()
        self._results.check(self._job)

    def _guard(self, target: Callable[..., None], *arguments: int) -> None:
        try:
            target(*arguments)
        except BaseException as error:  # run() raises it again
            self._abort(error)

    def _abort(self, error: BaseException) -> None:
        """Unblock every thread; ``run`` raises the first error."""
        self._results.fail(error)
        self._job.stop(error if isinstance(error, Exception) else TransientError(repr(error)))
        # Only the reader waits for room, and it checks the job before it waits again.
        self._room.release()
        for segment in list(self._started):
            segment.blocks.put(None)
        for _ in range(self._workers):
            self._segments.put(None)

    # The reader: cuts the samples into segments.

    def _read(self, source: int) -> None:
        segment = self._start_segment(0, [])
        lead: list[memoryview] = []
        count, length, left = 0, self._length(self._expected_blocks), self._expected_blocks
        while (block := self._block(source)).nbytes == self._block_bytes:
            if self._workers > 1 and count == length:
                segment = self._next_segment(segment, lead, block, length)
                left -= length
                lead, count, length = [], 0, self._length(left)
            if self._workers > 1 and count >= length - LEAD_BLOCKS:
                copy = memoryview(self._buffer())  # the block's buffer is reused once written
                copy[:] = block
                lead.append(copy)
            self._put(segment, block)
            count += 1
        self._put(segment, block)  # the rest, less than a block
        segment.blocks.put(None)
        self._results.expect(segment.index + 1)
        for _ in range(self._workers):
            self._segments.put(None)

    def _length(self, left: int) -> int:
        """Return how many blocks the next segment has, where about ``left`` are expected."""
        if left <= 0:  # unknown, or longer than expected
            return SEGMENT_BLOCKS
        return min(SEGMENT_BLOCKS, max(SHORTEST_BLOCKS, left // self._workers))

    def _start_segment(self, index: int, lead: list[memoryview]) -> _Segment:
        segment = _Segment(index, lead_frames=len(lead) * BLOCK_FRAMES)
        self._started = [*self._started[-self._workers :], segment]
        self._segments.put(segment)
        for block in lead:
            self._put(segment, block)
        return segment

    def _next_segment(
        self, segment: _Segment, lead: list[memoryview], following: memoryview, length: int
    ) -> _Segment:
        """End a segment of so many blocks and start the next one.

        The old one gets a few more frames, since its last frames depend on them. A segment ends
        only before a whole block, so that the last segment is never too short.
        """
        ahead = self._block_bytes // BLOCK_FRAMES * self._ahead_frames
        self._put(segment, memoryview(bytes(following[:ahead])))
        segment.keep_frames = length * BLOCK_FRAMES
        segment.frames = segment.lead_frames + segment.keep_frames + self._ahead_frames
        segment.blocks.put(None)
        return self._start_segment(segment.index + 1, lead)

    def _put(self, segment: _Segment, block: memoryview) -> None:
        self._room.acquire()
        self._job.check()
        segment.blocks.put(block)

    def _block(self, source: int) -> memoryview:
        """Read one block; a shorter one is the last."""
        view = memoryview(self._buffer())
        filled = 0
        while filled < len(view) and (got := os.readv(source, [view[filled:]])):
            filled += got
        self._job.touch()
        self.samples += filled // self._sample_bytes
        self._on_samples(self.samples)
        return view[:filled]

    def _buffer(self) -> bytearray:
        """Return a used buffer, or a new one: new memory costs a page fault per page."""
        with suppress(queue.Empty):
            return self._spare.get_nowait()
        return bytearray(self._block_bytes)

    # The workers: one encoder process each, for as many segments as it gets.

    def _work(self, slot: int) -> None:
        first = self._segments.get()
        if first is None:
            return
        process = self._job.start(self._arguments, stdin=True, stdout=True, ours=True, slot=slot)
        fed = deque([first])
        feeder = threading.Thread(target=self._guard, args=(self._feed, process, first, fed))
        feeder.start()
        data = bytearray()
        for block in process.blocks():
            data += block
            while fed and (end := _end(data, fed[0])) is not None:
                self._finish(fed.popleft(), data, end)
        feeder.join()
        self._job.check()
        process.wait()
        for segment in fed:
            end = _end(data, segment)
            if end is None and segment.frames is not None:
                raise TransientError("an MP3 encoder wrote fewer frames than it got samples")
            self._finish(segment, data, len(data) if end is None else end)

    def _finish(self, segment: _Segment, data: bytearray, end: int) -> None:
        """Take a segment's frames off the front of an encoder's output."""
        self._results.add(segment.index, *_trimmed(bytes(data[:end]), segment))
        del data[:end]

    def _feed(self, process: Process, first: _Segment, fed: deque[_Segment]) -> None:
        """Write segments to an encoder, and add each to ``fed`` before its first sample."""
        segment: _Segment | None = first
        with suppress(BrokenPipeError):  # the encoder's log has the reason
            while segment is not None:
                while (block := segment.blocks.get()) is not None:
                    write_all(process.stdin, block)
                    if isinstance(block.obj, bytearray):
                        self._spare.put(block.obj)
                    self._room.release()
                    self._job.touch()
                segment = self._segments.get()
                if segment is not None:
                    fed.append(segment)
        process.close_stdin()


def _end(data: bytearray, segment: _Segment) -> int | None:
    """Return where a segment's frames end in an encoder's output, ``None`` if some are missing.

    Those behind the frames to keep count as well: an encoder that is stopped early, and writes its
    last frames, is not taken for one that got all samples.
    """
    if segment.frames is None or len(data) < 4:
        return None
    first = mp3_frames.Header.parse(bytes(data[:4]))
    if len(data) < segment.frames * (first.size - first.padding):
        return None
    starts = mp3_frames.whole_frames(data)
    return starts[segment.frames] if segment.frames < len(starts) else None


def _trimmed(data: bytes, segment: _Segment) -> tuple[bytes, bytes, bytes]:
    """Return the frames to keep, the last lead-in frames, and the last frames kept."""
    starts = mp3_frames.frame_starts(data)
    lead = min(segment.lead_frames, len(starts) - 1)
    end = len(starts) - 1 if segment.keep_frames is None else lead + segment.keep_frames
    kept = data[starts[lead] : starts[end]]
    before = data[starts[max(0, lead - AGREEING_FRAMES)] : starts[lead]]
    return kept, before, data[starts[max(lead, end - AGREEING_FRAMES)] : starts[end]]


class _Results:
    """Collects encoded segments, and writes them in order."""

    def __init__(self) -> None:
        self._ready: dict[int, tuple[bytes, bytes, bytes]] = {}
        self._count: int | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, index: int, kept: bytes, before: bytes, last: bytes) -> None:
        with self._changed:
            self._ready[index] = (kept, before, last)
            self._changed.notify_all()

    def expect(self, count: int) -> None:
        with self._changed:
            self._count = count
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def write(self, output: FrameSink, job: Job) -> None:
        index, seam = 0, b""
        while (result := self._next(index, job)) is not None:
            kept, before, last = result
            if index and before != seam:
                raise NotConvergedError(f"encoders disagree at the start of segment {index}")
            output.write(kept)
            index, seam = index + 1, last

    def _next(self, index: int, job: Job) -> tuple[bytes, bytes, bytes] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._error or index in self._ready or index == self._count
            )
            self.check(job)
            return self._ready.pop(index, None)

    def check(self, job: Job) -> None:
        """Raise the error of any thread, or what stopped the job."""
        if self._error:
            job.check()
            raise self._error
