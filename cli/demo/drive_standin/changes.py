"""The change log: one sequence, collapsed to each file's latest state when it is listed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cli.demo.drive_standin.errors import ApiError, invalid

#: The last digits of a page token name its corpus; like Drive's, it is valid for no other.
_CORPORA = 1000


@dataclass(frozen=True)
class ChangeEntry:
    """One change: who could see the thing before or after it, and what changed."""

    sequence: int
    time: datetime
    kind: str  # "file" or "drive"
    id: str
    drive_id: str
    audience: frozenset[str]


class ChangeLog:
    """Every change in order, and the page tokens of each corpus."""

    def __init__(self) -> None:
        self.entries: list[ChangeEntry] = []
        self._first = 1
        self._latest: dict[str, int] = {}
        self._corpora: dict[tuple[str, str], int] = {}
        self._expired_below = 0
        self._expired_status = 410

    @property
    def next(self) -> int:
        """Return the sequence number of the next change."""
        return self._first + len(self.entries)

    def append(
        self, kind: str, thing: str, drive_id: str, audience: frozenset[str], now: datetime
    ) -> ChangeEntry:
        """Log a change."""
        entry = ChangeEntry(self.next, now, kind, thing, drive_id, audience)
        self.entries.append(entry)
        self._latest[thing] = entry.sequence
        return entry

    def is_latest(self, entry: ChangeEntry) -> bool:
        """Return whether it is the newest change of the same thing."""
        return self._latest[entry.id] == entry.sequence

    def token(self, account: str, drive_id: str, sequence: int | None = None) -> str:
        """Return the page token of a corpus from ``sequence`` (the present) on."""
        corpus = self._corpora.setdefault((account, drive_id), len(self._corpora) + 1)
        return str((self.next if sequence is None else sequence) * _CORPORA + corpus)

    def sequence(self, account: str, drive_id: str, token: str) -> int:
        """Return the sequence number of a token; raises ``ApiError`` for an invalid one."""
        if not token.isdigit():
            raise invalid("pageToken")
        sequence, corpus = divmod(int(token), _CORPORA)
        if corpus != self._corpora.get((account, drive_id)) or sequence > self.next:
            raise invalid("pageToken")
        if sequence < self._expired_below:
            reasons = {404: "notFound", 410: "deleted"}
            reason = reasons.get(self._expired_status, "invalid")
            message = "The page token is no longer valid."
            raise ApiError(self._expired_status, reason, message, location="pageToken")
        return sequence

    def page(self, sequence: int, size: int) -> list[ChangeEntry]:
        """Return the next ``size`` raw entries; most of them may not be for the caller."""
        start = max(0, sequence - self._first)
        return self.entries[start : start + size]

    def expire(self, status: int) -> None:
        """Invalidate every token issued so far; they are answered ``status``."""
        self._first += 1  # so that the next start token is a new one
        self._expired_below = self.next
        self._expired_status = status
