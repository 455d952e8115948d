"""Measures the stages of one recording's work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stages:
    """How long each stage took, in seconds, for the processing log."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a stage; a stage that is timed twice adds up."""
        start = time.monotonic()
        try:
            yield
        finally:
            before = self.seconds.get(name, 0.0)
            self.seconds[name] = round(before + time.monotonic() - start, 3)
