"""The local queue of ``audio-pipeline serve``, for tests where Google's emulator is missing."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.serve import topics
from cli.serve.queue import Message, PushQueue

_WAIT_S = 30.0


@dataclass
class Topic:
    """A topic of the local queue whose messages are kept for ``pull``."""

    url: str = ""
    _found: list[bytes] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def on_event(self, event: str, message: Message) -> None:
        if event == "published":
            with self._changed:
                self._found.append(message.data)
                self._changed.notify_all()

    def pull(self, count: int) -> list[bytes]:
        """Wait until ``count`` messages have arrived; return and forget all that are there."""
        with self._changed:
            end = time.monotonic() + _WAIT_S
            while len(self._found) < count and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            found, self._found[:] = list(self._found), []
            return found


@contextmanager
def local_topic() -> Iterator[Topic]:
    """Accept messages on a socket until the block ends."""
    topic = Topic()
    # Not below pytest's folder: a socket's path has at most 108 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as folder:
        path = Path(folder) / "topic"
        topic.url = f"local://{path}"
        with topics.listening(path, PushQueue([], on_event=topic.on_event)):
            yield topic
