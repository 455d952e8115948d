"""Shared by the tests of the protocol: a settable clock, a message, and failing documents."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.core.errors import ConflictError, TransientError
from shared.core.message import SourceFile
from shared.core.records import Audio, Recording, Status
from shared.tracking.claim import Claim
from shared.tracking.tracker import ClaimRefusal, Tracker

T0 = datetime(2025, 4, 7, 16, 52, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

#: The audio of a recording that was ``finished``.
AUDIO = Audio(
    object="dev/2025/04/a_audio.mp3",
    bytes=9,
    crc32c="AAAAAA==",
    duration_s=1.5,
    start_offset_s=0.0,
    codec="mp3",
    bitrate_kbps=128.0,
    preset="mp3",
)


class SettableClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: datetime = T0) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time that was set."""
        return self.now

    def tick(self, span: timedelta = MINUTE) -> None:
        """Move on by ``span``."""
        self.now += span


def source_file(number: int = 0, **changes: Any) -> SourceFile:
    """Return a recording of Drive, one for each number."""
    fields: dict[str, Any] = {
        "source": "drive",
        "source_id": f"file{number}",
        "revision": "rev1",
        "name": "Weekly sync - 2025/04/07 16:52 CST - Recording",
        "mime_type": "video/mp4",
        "size_bytes": 123,
        "created_at": T0 - HOUR,
    }
    return SourceFile(**fields | changes)


def claimed(outcome: Claim | ClaimRefusal) -> Claim:
    """Return the claim; fails the test for a refusal."""
    assert isinstance(outcome, Claim), outcome
    return outcome


def existing(tracker: Tracker, key: str) -> Recording:
    """Return the recording, which must be there."""
    recording = tracker.get(key)
    assert recording is not None
    return recording


def finished(tracker: Tracker, **changes: Any) -> Recording:
    """Return the recording of ``source_file()``, claimed and finished as DONE."""
    return claimed(tracker.claim(source_file())).finish(Status.DONE, audio=AUDIO, **changes)


def code_of(recording: Recording) -> str:
    """Return the code of a recording's error, or empty."""
    return recording.error.code if recording.error else ""


def tracker_over(documents: Any, tracker: Tracker) -> Tracker:
    """Return a tracker on other documents, of the same time."""
    return Tracker(documents, clock=tracker.clock)


class Faults:
    """Wraps an adapter and breaks one of its calls, or all from one on.

    ``before`` and ``after``: whether the call that fails was not done or done: a request or its
    answer was lost. ``WRITES`` are counted from 1, reads pass unless all is ``down``.
    """

    WRITES = ("create", "replace", "delete", "put")

    def __init__(
        self,
        inner: Any,
        *,
        at: int | None = None,
        done: bool = False,
        stays_down: bool = False,
        error: Callable[[], BaseException] = lambda: TransientError("the line is dead"),
        counter: Counter | None = None,
    ) -> None:
        self._inner = inner
        self.at = at
        self._done = done
        self._stays_down = stays_down
        self._error = error
        self.counter = counter or Counter()
        self.down = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        return self._guarded(name, call) if callable(call) else call

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if self.down or self.counter.down:
                raise self._error()
            if name not in self.WRITES or self.counter.next() != self.at:
                return call(*args, **kwargs)
            self.counter.down = self._stays_down
            if self._done:
                call(*args, **kwargs)
            raise self._error()

        return run


class Counter:
    """Counts the writes of the adapters that share it, and can take all of them down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.down = False

    def next(self) -> int:
        """Count one more."""
        with self._lock:
            self.count += 1
            return self.count


class Interleaved:
    """Documents that let something happen just before a write, once."""

    def __init__(self, inner: Any, meanwhile: Callable[[], object]) -> None:
        self._inner = inner
        self._meanwhile: Callable[[], object] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _let(self) -> None:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            meanwhile()

    def create(self, *args: Any) -> Any:
        """Let it happen, then create."""
        self._let()
        return self._inner.create(*args)

    def replace(self, *args: Any) -> Any:
        """Let it happen, then replace."""
        self._let()
        return self._inner.replace(*args)


class AnswerLost:
    """Documents whose next write succeeds, is sent again, and conflicts with itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.lose_next = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create(self, *args: Any) -> Any:
        """Create; the second sending is refused, as it would be."""
        return self._twice(self._inner.create, *args)

    def replace(self, *args: Any) -> Any:
        """Replace; the second sending is refused, as it would be."""
        return self._twice(self._inner.replace, *args)

    def _twice(self, write: Callable[..., Any], *args: Any) -> Any:
        result = write(*args)
        if self.lose_next:
            self.lose_next = False
            raise ConflictError("changed since it was read")
        return result
