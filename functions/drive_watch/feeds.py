"""The feeds of changes: one for each account and each shared drive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.core.errors import CancelledError


@dataclass(frozen=True)
class Feed:
    """The changes of what ``account`` sees, or of one shared drive read as that account."""

    account: str = ""
    drive_id: str = ""

    @property
    def id(self) -> str:
        """The id of its documents."""
        return self.drive_id or self.account or "default"


def make_feeds(subjects: Sequence[str], drive_ids: Sequence[str]) -> list[Feed]:
    """Return every feed of ``DRIVE_SUBJECTS`` and ``DRIVE_IDS``."""
    accounts = subjects or ("",)
    return [
        *(Feed(account) for account in accounts),
        *(Feed(accounts[0], drive_id) for drive_id in drive_ids),
    ]


class Budget:
    """How long one call may work, and whether the process was asked to stop."""

    def __init__(self, limit_s: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._end = time.monotonic() + limit_s
        self._cancelled = cancelled

    @property
    def is_spent(self) -> bool:
        """Whether the rest is for the next call."""
        return time.monotonic() >= self._end

    def check(self) -> None:
        """Raise ``CancelledError`` when the process was asked to stop."""
        if self._cancelled():
            raise CancelledError("stopped on request")
