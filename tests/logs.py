"""The log of the code under test as a deployed process writes it: one JSON object a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.config.settings import Settings
from shared.runtime import logging as pipeline_logging
from shared.tracking import final_status


@dataclass
class Lines:
    """The lines so far."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def saying(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["message"] == message]

    def ends(self) -> list[dict[str, Any]]:
        return self.saying(final_status.ENDED)


@contextmanager
def captured() -> Iterator[Lines]:
    """Log as on Cloud Run until the block ends."""
    root, lines = logging.getLogger(), Lines()
    level = root.level
    settings = Settings.from_environment({"LOG_FORMAT": "json"})
    handler = pipeline_logging.setup(settings, stream=lines.stream)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
