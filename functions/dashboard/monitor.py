"""The state of the components, the Drive channels, the nightly runs and the last audit."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from typing import Any

from functions.dashboard.backend import Backend
from functions.dashboard.cache import Cached
from functions.dashboard.texts import duration, size
from shared.core.counts import counted
from shared.core.ports import Document
from shared.core.times import document_time
from shared.service import health

#: The message of a component that is not set up.
NOT_SET_UP = "not set up"

#: Encoding needs room for the audio, twice.
_LEAST_FREE_BYTES = 500_000_000

#: A night that is overdue by more than this is reported.
_NIGHT_OVERDUE = timedelta(hours=26)

_CHANNELS, _STATES, _NIGHTS, _AUDITS = "drive_channels", "drive_state", "nightly_runs", "audits"
_MAX_ACCOUNTS = 100

_HEALTH_TTL_S = 3.0


class Monitor:
    """Asks for the state of everything, and keeps the answer for a few seconds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._documents = backend.tracker.documents
        self._health = Cached(self._check, _HEALTH_TTL_S)
        self._channels = Cached(self._find_channels, backend.cache_s)
        self._nights = Cached(self._find_nights, backend.cache_s)

    def health(self, *, stale_s: float = 0.0) -> dict[str, Any]:
        """Return ``{"status", "components": {name: {"ok", "message", "ms", "light"}}}``.

        A state up to ``stale_s`` old is returned at once and refreshed in the background, so
        that no page waits for a component that does not answer.
        """
        return self._health.latest(stale_s) if stale_s else self._health.get()

    def _check(self) -> dict[str, Any]:
        parts = {
            **self._backend.checks,
            "temporary space": _check_space,
            "drive": self._check_drive,
            "sftp": self._check_sftp,
        }
        state = health.check(parts)
        for component in state["components"].values():
            off = component["message"] == NOT_SET_UP
            component["light"] = "grey" if off else "green" if component["ok"] else "red"
        return state

    def channels(self) -> list[Document]:
        """Return the Drive channels: ``account``, ``feed``, ``expires_at``, ``notified_at``."""
        return self._channels.get()

    def _find_channels(self) -> list[Document]:
        found = (read.document for read in self._documents.find(_CHANNELS, limit=_MAX_ACCOUNTS))
        return sorted(map(_with_times, found), key=lambda one: (one["account"], one["feed"]))

    def nights(self) -> list[Document]:
        """Return the nightly runs, the last first, up to 30."""
        return self._nights.get()

    def _find_nights(self) -> list[Document]:
        found = self._documents.find(_NIGHTS, order_by="date", descending=True, limit=30)
        return [_with_times(read.document) for read in found]

    def last_audit(self) -> Document | None:
        """Return the result of the last audit, or ``None``."""
        read = self._documents.get(_AUDITS, "last")
        return _with_times(read.document) if read else None

    def _check_drive(self) -> str:
        channels = self.channels()
        if not channels:
            if not self._backend.has_drive:
                return NOT_SET_UP
            return "no channel: changes are found by maintain only"
        now = self._backend.tracker.clock()
        ends = min(one["expires_at"] for one in channels)
        if ends <= now:
            accounts = {one["account"] or "the service account" for one in channels}
            raise RuntimeError(f"a channel has expired ({', '.join(sorted(accounts))[:100]})")
        return f"{counted(len(channels), 'channel')}, the first ends in {duration(ends - now)}"

    def _check_sftp(self) -> str:
        nights = self.nights()
        if not nights:
            return "no run yet" if self._backend.has_sftp else NOT_SET_UP
        last = nights[0]
        if last.get("error"):
            raise RuntimeError(f"the last run failed: {last['error'].get('message', '')}")
        age = self._backend.tracker.clock() - last["started_at"]
        if self._backend.has_sftp and age > _NIGHT_OVERDUE:
            raise RuntimeError(f"the last run was {duration(age)} ago")
        return f"the last run found {counted(last.get('found', 0), 'file')}"


def _check_space() -> str:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < _LEAST_FREE_BYTES:
        raise RuntimeError(f"only {size(free)} are free")
    return f"{size(free)} free"


def _with_times(document: Document) -> Document:
    """Return the document with its times as ``datetime``: SQLite returns text."""
    return {
        name: document_time(value)
        if name.endswith("_at") and isinstance(value, str | datetime)
        else value
        for name, value in document.items()
    }
