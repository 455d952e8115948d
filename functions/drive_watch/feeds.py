"""What is watched: one feed of changes for each account and shared drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.config.settings import Settings
from shared.core.errors import CancelledError


@dataclass(frozen=True)
class Feed:
    """The changes of what ``account`` sees, or of one shared drive read as it."""

    account: str = ""
    drive_id: str = ""

    @property
    def id(self) -> str:
        """The id of its documents."""
        return self.drive_id or self.account or "default"


def feeds(settings: Settings) -> list[Feed]:
    """Return every feed that the settings name."""
    accounts = settings.drive_subjects or ("",)
    return [
        *(Feed(account) for account in accounts),
        *(Feed(accounts[0], drive_id) for drive_id in settings.drive_ids),
    ]


class Budget:
    """How long one call may work, and whether it was asked to stop."""

    def __init__(self, limit_s: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._end = time.monotonic() + limit_s
        self._cancelled = cancelled

    @property
    def is_spent(self) -> bool:
        """Whether the rest is for the next call."""
        return time.monotonic() >= self._end

    def check(self) -> None:
        """Raise ``CancelledError`` when the process is to end."""
        if self._cancelled():
            raise CancelledError("stopped on request")
