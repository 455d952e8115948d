"""What the sources hold, what the tracker says and what the storage has, held together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.core.message import SourceFile
from shared.core.ports import Storage
from shared.core.records import Recording, Status

#: A lease that ran out so long ago should have been published again.
STALE_AFTER = timedelta(minutes=2)

_IN_FLIGHT = (Status.QUEUED, Status.PROCESSING)


@dataclass(frozen=True)
class Problem:
    """Something that does not add up, in words; ``recording`` where the tracker has one."""

    name: str
    what: str
    recording: Recording | None = None


@dataclass
class Tally:
    """Recordings of one source by what became of them."""

    seen: int = 0
    by_status: Counter[Status] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """How many wait or are worked on."""
        return sum(self.by_status[status] for status in _IN_FLIGHT)


def tally(listed: Iterable[SourceFile], known: dict[str, Recording]) -> Tally:
    """Look up each recording of a source; one that the tracker does not know is a problem."""
    result = Tally()
    for item in listed:
        result.seen += 1
        recording = known.get(item.key)
        if recording is None:
            what = "is there, and the tracker does not know this revision of it"
            result.problems.append(Problem(item.name, what))
        else:
            result.by_status[recording.status] += 1
    return result


def stale(known: Iterable[Recording], now: datetime) -> Iterator[Problem]:
    """Yield what is said to be worked on and is not."""
    for one in known:
        ended = one.lease_expires_at
        if one.status is Status.PROCESSING and (ended is None or now - ended > STALE_AFTER):
            yield Problem(one.name, "its worker stopped, and nobody took it up again", one)


def missing_audio(known: Iterable[Recording], storage: Storage) -> Iterator[Problem]:
    """Yield each DONE whose objects are not in the storage as they were made."""
    for one in known:
        if one.status is Status.DONE:
            what = _wrong_audio(one, storage)
            if what:
                yield Problem(one.name, what, one)


def _wrong_audio(one: Recording, storage: Storage) -> str:
    if one.audio is None:
        return "is DONE, and its document names no audio"
    there = storage.stat(one.audio.object)
    if there is None:
        return f"its audio is gone: {one.audio.object}"
    if there.metadata.get("key") != one.key:
        return _of_another(one, there.metadata.get("source_id"))
    if (there.bytes, there.crc32c) != (one.audio.bytes, one.audio.crc32c):
        return f"its audio is not the one that was verified: {one.audio.object}"
    return _wrong_chunk(one, storage)


def _of_another(one: Recording, source_id: str | None) -> str:
    # A changed file of the SFTP server replaces the audio of its older revision.
    if source_id == one.source_id:
        return ""
    assert one.audio is not None
    return f"another recording's audio lies in its place: {one.audio.object}"


def _wrong_chunk(one: Recording, storage: Storage) -> str:
    for chunk in one.chunks:
        there = storage.stat(chunk.object)
        if there is None or there.bytes != chunk.bytes:
            return f"a chunk of its audio is gone or not the one that was made: {chunk.object}"
    return ""
