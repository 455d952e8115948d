"""Writes a source to FFmpeg's standard input: the cheapest way to read it in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.media.ffmpeg.pipes import write_all
from shared.media.ffmpeg.process import Process
from shared.media.source.read_ahead import ReadAhead

#: Bytes read from the cache at a time; it returns at most the rest of a block.
PIECE_BYTES = 1 << 20


class Feeders:
    """Threads that write whole sources to pipes."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        #: The first error, other than a reader that closed its pipe.
        self.failure: BaseException | None = None

    def start(self, source: ReadAhead, process: Process) -> None:
        """Write all of ``source`` to the standard input of ``process``, then close it.

        The process may end, and the source may be closed, at any time.
        """
        # A duplicate: if another thread closed the original, its number could be reused.
        pipe = os.dup(process.stdin)
        process.close_stdin()
        thread = threading.Thread(target=self._run, args=(source, pipe), name="feed", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine's limit of threads
            os.close(pipe)
            raise
        self._threads.append(thread)

    def _run(self, source: ReadAhead, pipe: int) -> None:
        try:
            with suppress(BrokenPipeError):  # FFmpeg has read enough, or has ended
                position = 0
                while position < source.size:
                    piece = source.piece(position, PIECE_BYTES)
                    write_all(pipe, piece)
                    position += len(piece)
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            os.close(pipe)

    def join(self) -> None:
        """Wait for the threads. Close their sources or end their readers first."""
        for thread in self._threads:
            thread.join()


@contextmanager
def feeders() -> Iterator[Feeders]:
    """Yield feeders, and wait for them at the end; their sources must be closed by then."""
    made = Feeders()
    try:
        yield made
    finally:
        made.join()
