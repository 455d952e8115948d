"""A bounded cache of blocks between a slow source and a reader, filled ahead and in parallel."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from pathlib import Path

from shared.core.errors import TransientError
from shared.core.ports import ByteSource

#: Large enough that a request's time to first byte (0.1 to 0.5 s at Drive) is small compared with
#: the transfer of the block, small enough that several fit into the memory limit.
BLOCK_BYTES = 4 << 20
MEMORY_BYTES = 48 << 20
WORKERS = 4

#: How long ``close`` waits for the source's running reads.
CLOSE_SECONDS = 2.0

_REMEMBERED_RUNS = 64


class ReadAhead:
    """A ``ByteSource`` that caches blocks of another one and fetches the next ones ahead.

    ``memory_bytes`` limits cached blocks and blocks that are being fetched together. The least
    recently used block is dropped first. A block is read ahead only after the ones before it
    were read in order, so that a jump (to the index at the end of an MP4, and back) costs one
    block instead of several.

    After the first error of the source, ``failure`` is set and every read raises it: a short
    read would look like end of file.

    Args:
        source: Where the bytes come from; it stays open when this is closed.
        block_bytes: Size of a block and of a request; reduced if four of them do not fit into
            the memory limit.
        memory_bytes: The limit; at least 4.
        workers: How many requests run at once.
    """

    def __init__(
        self,
        source: ByteSource,
        *,
        block_bytes: int = BLOCK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        workers: int = WORKERS,
    ) -> None:
        self._source = source
        self._block_bytes = max(1, min(block_bytes, memory_bytes // 4))
        self._slots = max(4, memory_bytes // self._block_bytes)
        # Two slots are reserved, for the block that is being read and the one before it.
        self._workers = max(1, min(workers, self._slots - 2))
        self._changed = threading.Condition()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._runs: OrderedDict[int, int] = OrderedDict()
        self._in_flight: set[int] = set()
        self._wanted: Counter[int] = Counter()
        self._ahead: tuple[int, ...] = ()
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._closed = False

    @property
    def size(self) -> int:
        return self._source.size

    @property
    def local_path(self) -> Path | None:
        return self._source.local_path

    @property
    def failure(self) -> BaseException | None:
        """The first error of the source, or ``None``."""
        return self._failure

    @property
    def is_awaited(self) -> bool:
        """Whether a reader waits for a block that the source has not returned yet."""
        with self._changed:
            return not self._is_over and any(index not in self._blocks for index in self._wanted)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file."""
        pieces = []
        stop = min(offset + length, self.size)
        while offset < stop:
            pieces.append(self.piece(offset, stop - offset))
            offset += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def piece(self, offset: int, length: int) -> bytes:
        """Return 1 to ``length`` bytes from ``offset``, at most to the end of their block.

        ``offset`` must be within the file. Raises the source's error, and ``ValueError`` after
        ``close``.
        """
        index, start = divmod(offset, self._block_bytes)
        return self._block(index)[start : start + length]

    def check_unchanged(self) -> None:
        self._source.check_unchanged()

    def close(self) -> None:
        """Drop all blocks and stop the threads; waiting readers get a ``ValueError``.

        Waits at most ``CLOSE_SECONDS`` for the source's running reads, which cannot be
        interrupted. Their threads stop when the reads return. Idempotent.
        """
        with self._changed:
            self._closed = True
            self._blocks.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _block(self, index: int) -> bytes:
        with self._changed:
            self._note_run(index)
            self._wanted[index] += 1
            try:
                self._start_threads()
                self._changed.notify_all()
                self._changed.wait_for(lambda: index in self._blocks or self._is_over)
                return self._take(index)
            finally:
                self._wanted[index] -= 1
                if not self._wanted[index]:
                    del self._wanted[index]

    def _take(self, index: int) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ValueError("read of a closed source")
        self._blocks.move_to_end(index)
        return self._blocks[index]

    @property
    def _is_over(self) -> bool:
        return self._closed or self._failure is not None

    def _note_run(self, index: int) -> None:
        run = self._runs.pop(index, None)
        if run is None:
            run = self._runs.get(index - 1, -1) + 1
        self._runs[index] = run
        if len(self._runs) > _REMEMBERED_RUNS:
            self._runs.popitem(last=False)
        window = min((1 << min(run, 8)) - 1, self._workers)
        last = (self.size - 1) // self._block_bytes
        self._ahead = tuple(range(index + 1, min(index + window, last) + 1))

    def _start_threads(self) -> None:
        if self._threads or self._is_over:
            return
        for number in range(self._workers):
            name = f"read-ahead-{number}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while (index := self._next_job()) is not None:
            try:
                block = self._fetch(index)
            except BaseException as error:
                self._fail(index, error)
            else:
                self._store(index, block)
            # Free the block while the thread waits.
            block = b""

    def _next_job(self) -> int | None:
        with self._changed:
            while not self._is_over:
                index = self._choose()
                if index is not None and self._make_room():
                    self._in_flight.add(index)
                    return index
                self._changed.wait()
        return None

    def _choose(self) -> int | None:
        for candidates in (self._wanted, self._ahead):
            for index in candidates:
                if index not in self._blocks and index not in self._in_flight:
                    return index
        return None

    def _make_room(self) -> bool:
        while len(self._blocks) + len(self._in_flight) >= self._slots and self._blocks:
            self._blocks.popitem(last=False)
        return len(self._blocks) + len(self._in_flight) < self._slots

    def _fetch(self, index: int) -> bytes:
        offset = index * self._block_bytes
        length = min(self._block_bytes, self.size - offset)
        block = self._source.read(offset, length)
        if len(block) != length:
            raise TransientError(
                f"The source returned {len(block)} bytes at {offset} instead of {length}."
            )
        return block

    def _store(self, index: int, block: bytes) -> None:
        with self._changed:
            self._in_flight.discard(index)
            if self._closed:
                return
            self._blocks[index] = block
            self._changed.notify_all()

    def _fail(self, index: int, error: BaseException) -> None:
        with self._changed:
            self._in_flight.discard(index)
            if self._failure is None and not self._closed:
                self._failure = error
            self._blocks.clear()
            self._changed.notify_all()
