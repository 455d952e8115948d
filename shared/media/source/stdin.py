"""A source written into FFmpeg's standard input: the cheapest way to read one in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.media.ffmpeg.pipes import write_all
from shared.media.ffmpeg.process import Process
from shared.media.source.read_ahead import ReadAhead

#: How much is asked of the cache at a time; it gives at most what is left of a block.
PIECE_BYTES = 1 << 20


class Feeders:
    """Threads that write sources into pipes, each from its beginning to its end."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        #: The first error that was not the reader's going away.
        self.failure: BaseException | None = None

    def start(self, source: ReadAhead, process: Process) -> None:
        """Write all of ``source`` to the standard input of ``process``, and close that.

        The process may end or be killed, and the source may be closed, at any time.
        """
        # A descriptor of its own: a number that someone else closes can come to be another file.
        pipe = os.dup(process.stdin)
        process.close_stdin()
        thread = threading.Thread(target=self._run, args=(source, pipe), name="feed", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine has no room for another one
            os.close(pipe)
            raise
        self._threads.append(thread)

    def _run(self, source: ReadAhead, pipe: int) -> None:
        try:
            with suppress(BrokenPipeError):  # it has read enough, or has ended
                _write(source, pipe)
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            os.close(pipe)

    def join(self) -> None:
        """Wait for the threads: their sources are closed, or their readers have ended."""
        for thread in self._threads:
            thread.join()


@contextmanager
def feeders() -> Iterator[Feeders]:
    """Yield feeders that are waited for at the end; close what they read before that."""
    made = Feeders()
    try:
        yield made
    finally:
        made.join()


def _write(source: ReadAhead, pipe: int) -> None:
    position = 0
    while position < source.size:
        piece = source.piece(position, PIECE_BYTES)
        write_all(pipe, piece)
        position += len(piece)
