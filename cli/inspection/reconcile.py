"""Compares the sources, the tracker and the storage."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from shared.core.message import Source, SourceFile
from shared.core.naming import chunks_index_object, decode_path, waveform_object
from shared.core.ports import Storage, StoredObject
from shared.core.records import Recording, Status

#: A lease that expired this long ago should have been requeued.
STALE_AFTER = timedelta(minutes=2)

_IN_FLIGHT = (Status.QUEUED, Status.PROCESSING)


class ProblemKind(Enum):
    """What does not add up."""

    UNKNOWN = "not in the tracker"
    UNREADABLE = "cannot be read"
    STALE = "abandoned by its worker"
    AUDIO = "without its audio"
    ORPHAN = "in the bucket without a recording"
    MANIFEST = "wrong in the manifest"


@dataclass(frozen=True)
class Problem:
    """A mismatch, described for people; ``recording`` if the tracker has one."""

    kind: ProblemKind
    name: str
    what: str
    recording: Recording | None = None


@dataclass
class Tally:
    """The recordings of one source by status.

    ``keys`` are the documents that the source still has, renamed files included.
    """

    seen: int = 0
    by_status: Counter[Status] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """How many are queued or processed."""
        return sum(self.by_status[status] for status in _IN_FLIGHT)


def tally(listed: Iterable[SourceFile], known: Mapping[str, Recording]) -> Tally:
    """Look up each recording of a source; one that the tracker does not know is a problem."""
    result = Tally()
    moved = {
        one.revision: one
        for one in known.values()
        if one.source == Source.LOCAL and one.size_bytes and is_gone(one)
    }
    for item in listed:
        result.seen += 1
        recording = known.get(item.key)
        if recording is None and item.source == Source.LOCAL:
            recording = moved.get(item.revision)  # renamed: its document follows at `extract`
        if recording is None:
            what = "the tracker does not know this revision"
            result.problems.append(Problem(ProblemKind.UNKNOWN, item.name, what))
        else:
            result.by_status[recording.status] += 1
            result.keys.add(recording.key)
    return result


def is_gone(recording: Recording) -> bool:
    """Return whether nothing is at a local recording's path any more."""
    return not os.path.lexists(decode_path(recording.source_id))


def stale(known: Iterable[Recording], now: datetime) -> Iterator[Problem]:
    """Yield the recordings whose worker stopped without ending them."""
    for one in known:
        ended = one.lease_expires_at
        if one.status is Status.PROCESSING and (ended is None or now - ended > STALE_AFTER):
            what = "its worker stopped, and no other has taken over"
            yield Problem(ProblemKind.STALE, one.name, what, one)


def missing_audio(known: Iterable[Recording], storage: Storage) -> Iterator[Problem]:
    """Yield each DONE recording whose objects are missing or were changed."""
    for one in known:
        if one.status is Status.DONE and (what := _audio_problem(one, storage)):
            yield Problem(ProblemKind.AUDIO, one.name, what, one)


def _audio_problem(one: Recording, storage: Storage) -> str:
    if one.audio is None:
        return "it is DONE, but its document names no audio"
    there = storage.stat(one.audio.object)
    if there is None:
        return f"its audio is gone: {one.audio.object}"
    # A changed file of the SFTP server replaces the audio of its older revision.
    replaced = there.metadata.get("source_id") == one.source_id
    if there.metadata.get("key") != one.key and replaced:
        return ""
    if there.metadata.get("key") != one.key:
        return f"another recording's audio has its name: {one.audio.object}"
    if (there.bytes, there.crc32c) != (one.audio.bytes, one.audio.crc32c):
        return f"its audio was changed after it was verified: {one.audio.object}"
    sizes = {chunk.object: chunk.bytes for chunk in one.chunks}
    pieces = {name: storage.stat(name) for name in sizes}
    bad = (name for name, piece in pieces.items() if not piece or piece.bytes != sizes[name])
    return next((f"a chunk of its audio is gone or was changed: {name}" for name in bad), "")


def orphans(
    known: Mapping[str, Recording],
    objects: Iterable[StoredObject],
    read: Callable[[str], Recording | None],
) -> Iterator[Problem]:
    """Yield each object that was written for a recording and that its document does not name.

    Objects without a ``key`` are not ours, or are lists; no document names processing logs. A
    recording in flight may not name its objects yet. ``read`` returns a recording as it is
    now, since ``known`` is older than the list of objects.
    """
    for there in objects:
        key = there.metadata.get("key")
        if not key or "/metadata/processing-logs/" in there.name:
            continue
        one = known.get(key)
        if one and there.name in _objects(one):
            continue
        one = read(key)
        if one is None:
            yield Problem(ProblemKind.ORPHAN, there.name, f"the tracker has no recording {key}")
        elif one.status not in _IN_FLIGHT and there.name not in _objects(one):
            what = f"its recording is {one.status} and does not name it"
            yield Problem(ProblemKind.ORPHAN, there.name, what, one)


def _objects(one: Recording) -> set[str]:
    if one.audio is None:
        return set()
    audio = one.audio.object
    beside = {audio, waveform_object(audio), *(chunk.object for chunk in one.chunks)}
    return beside | ({chunks_index_object(audio)} if one.chunks else set())


def waiting(
    listed: Iterable[SourceFile], known: Mapping[str, Recording], since: datetime | None
) -> Iterator[SourceFile]:
    """Yield the files of the SFTP server without those that wait for the next nightly run.

    ``since`` is from when on the last run took no files: it left those that were still changing.
    """
    for item in listed:
        if item.key in known or since is None or item.created_at <= since:
            yield item


def wrong_manifest(
    known: Iterable[Recording], rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Compare the manifest's rows, by source, with the newest DONE recording of each source."""
    newest: dict[str, Recording] = {}
    in_flight = set()
    for one in known:
        if one.source != Source.SFTP:
            continue
        if one.status in _IN_FLIGHT:
            in_flight.add(one.source_id)  # the row is written before DONE
        elif one.status is Status.DONE:
            newest[one.source_id] = max(
                newest.get(one.source_id, one), one, key=lambda each: str(each.finished_at)
            )
    for source in sorted((newest.keys() | rows.keys()) - in_flight):
        done, row = newest.get(source), rows.get(source)
        if done is None:
            what = "the manifest has a row, but no recording of it is DONE"
        elif row is None:
            what = "it is DONE, but the manifest has no row"
        elif done.audio and (row["object"], row["bytes"]) != (done.audio.object, done.audio.bytes):
            what = f"the manifest's row names another object or size: {row['object']}"
        else:
            continue
        yield Problem(ProblemKind.MANIFEST, source, what, done)
