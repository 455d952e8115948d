"""What the requests of one app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from functions.dashboard import parameters
from functions.dashboard.backend import Backend
from functions.dashboard.links import Links
from functions.dashboard.monitor import Monitor
from functions.dashboard.problems import ProblemError
from functions.dashboard.stats import Stats
from shared.core.errors import ConfigurationError, is_transient
from shared.core.ports import Documents, Storage
from shared.core.records import Recording
from shared.tracking.tracker import Tracker

_NAME = "audio-pipeline-dashboard"


@dataclass(frozen=True)
class Context:
    """The backend, and what is built on it once."""

    backend: Backend
    links: Links
    stats: Stats
    monitor: Monitor

    @classmethod
    def of(cls, backend: Backend) -> Context:
        """Build everything; nothing is read yet."""
        return cls(
            backend=backend,
            links=Links(backend.tracker, backend.storage),
            stats=Stats(backend.tracker, backend.cache_s),
            monitor=Monitor(backend),
        )

    @property
    def tracker(self) -> Tracker:
        """The recordings."""
        return self.backend.tracker

    @property
    def documents(self) -> Documents:
        """The database behind them."""
        return self.backend.tracker.documents

    @property
    def storage(self) -> Storage:
        """The bucket."""
        return self.backend.storage

    def recording(self, key: str) -> Recording:
        """Return a recording; raises ``ProblemError`` (404) when there is none."""
        found = self.tracker.get(key) if parameters.is_key(key) else None
        if found is None:
            raise ProblemError(404, "there is no recording with this key")
        return found

    def install(self) -> None:
        """Make this the context of the current app."""
        current_app.extensions[_NAME] = self


def is_unavailable(error: Exception) -> bool:
    """Return whether a component, and not this code, is the cause of an error."""
    return is_transient(error) or isinstance(error, ConfigurationError)


def context() -> Context:
    """Return the context of the app that serves this request."""
    return cast(Context, current_app.extensions[_NAME])
