"""What every command works with: settings from the environment and options, services, logs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO, cast

from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.runtime import logging as logs
from shared.tracking.tracker import Tracker


@dataclass(frozen=True)
class App:
    """One run of the command line."""

    services: Services

    @property
    def settings(self) -> Settings:
        """What the environment and the options say."""
        return self.services.settings

    @property
    def tracker(self) -> Tracker:
        """The records of all recordings."""
        return self.services.tracker

    def check_reachable(self) -> None:
        """Raise before any work when the tracker or the storage cannot be used."""
        self.services.documents.check()
        self.services.storage.check()


def load(options: Mapping[str, str | None] | None = None, *, verbose: bool = False) -> App:
    """Read the environment, with ``options`` in place of the variables that they name.

    Raises ``ConfigurationError`` with every problem.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    app = App(Services.from_environment({**os.environ, **given}))
    level = logging.INFO if verbose else logging.WARNING
    handler = logs.setup(app.settings, level=level, stream=cast(TextIO, _Stderr()))
    if not verbose:
        handler.addFilter(_for_people)
    return app


class _Stderr:
    """Standard error as it is at each write: a progress bar stands in for it meanwhile."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _for_people(record: logging.LogRecord) -> bool:
    """Keep stacks, and what the command tells itself, out of sight."""
    record.exc_info = record.exc_text = None
    return record.name not in ("shared.tracking.final_status", "shared.tracking.lease")
