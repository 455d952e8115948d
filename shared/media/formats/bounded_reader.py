"""A reader for untrusted structures, with limits on bytes and steps."""

from __future__ import annotations

from shared.core.ports import ByteSource

MAX_BYTES = 6 << 20
MAX_STEPS = 20_000

_WINDOW = 16 << 10


class UnknownStructureError(Exception):
    """The structure is damaged or hostile, or exceeds the reader's limits."""


class BoundedReader:
    """Reads small pieces of a source through windows, within a budget.

    Every method raises ``UnknownStructureError`` for bytes outside the file and when the budget
    is used up. Errors of the source pass through.
    """

    def __init__(
        self, source: ByteSource, *, max_bytes: int = MAX_BYTES, max_steps: int = MAX_STEPS
    ) -> None:
        self._source = source
        self._bytes_left = max_bytes
        self._steps_left = max_steps
        self._start = 0
        self._window = b""
        self.size = source.size

    def at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise UnknownStructureError("too many parts")
        if offset < 0 or length < 0 or offset + length > self.size:
            raise UnknownStructureError(f"{length} bytes at {offset} are not in the file")
        start = offset - self._start
        if start < 0 or start + length > len(self._window):
            self._fill(offset, max(length, _WINDOW))
            start = 0
        return self._window[start : start + length]

    def uint(self, offset: int, length: int) -> int:
        """Return a big-endian unsigned integer of ``length`` bytes."""
        return int.from_bytes(self.at(offset, length), "big")

    def uint_le(self, offset: int, length: int) -> int:
        """Return a little-endian unsigned integer of ``length`` bytes."""
        return int.from_bytes(self.at(offset, length), "little")

    def _fill(self, offset: int, length: int) -> None:
        length = min(length, self.size - offset)
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise UnknownStructureError("too much to read")
        self._start, self._window = offset, self._source.read(offset, length)
        if len(self._window) != length:
            raise UnknownStructureError("the file is shorter than it was")
