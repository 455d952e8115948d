"""A copy of a file that is made in the background, while something else is done with the file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Copied(Protocol):
    """A finished copy."""

    @property
    def path(self) -> Path:
        """Where it is."""


C = TypeVar("C", bound=Copied)


class EarlyCopy(Generic[C]):
    """A copy of ``content`` in ``directory``, made by ``copy`` in a thread of its own.

    ``copy`` gets a function that raises once the copy is not wanted any more, to call between
    blocks. If it fails, ``result`` is ``None``: the caller then copies the file itself, and
    gets the error that the thread got.
    """

    def __init__(
        self, content: Path, directory: Path, copy: Callable[[Callable[[], None]], C]
    ) -> None:
        self.directory = directory
        self._content = content
        self._copy = copy
        self._copied: C | None = None
        self._state = self._content_state()
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="early-copy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(Exception):
            self._copied = self._copy(self._check)

    def _check(self) -> None:
        if self._unwanted.is_set():
            raise InterruptedError

    def _content_state(self) -> tuple[int, int, int]:
        status = self._content.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def result(self) -> C | None:
        """Wait for the copy and return it; ``None`` if it failed, or the file has changed since."""
        self._thread.join()
        if self._copied is None or self._content_state() != self._state:
            return None
        return self._copied if self._copied.path.exists() else None

    def close(self) -> None:
        """Stop, and remove the copy unless it was renamed."""
        self._unwanted.set()
        self._thread.join()
        if self._copied:
            self._copied.path.unlink(missing_ok=True)
