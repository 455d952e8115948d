"""Compares the sources, the tracker and the storage."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import groupby
from typing import Any, TypeVar

from cli.inspection.snapshot import Snapshot
from shared.core.message import Source, SourceFile
from shared.core.naming import chunks_index_object, decode_path, waveform_object
from shared.core.ports import Storage, StoredObject
from shared.core.records import Recording, Status

#: A lease that expired this long ago should have been requeued.
STALE_AFTER = timedelta(minutes=2)

_IN_FLIGHT = (Status.QUEUED, Status.PROCESSING)


L = TypeVar("L")
R = TypeVar("R")


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
    """The recordings of one source by status."""

    seen: int = 0
    by_status: Counter[Status] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """How many are queued or processed."""
        return sum(self.by_status[status] for status in _IN_FLIGHT)


def tally(listed: Iterable[SourceFile], known: Snapshot) -> Tally:
    """Look up each recording of a source; one that the tracker does not know is a problem.

    The documents that the source still has are marked as seen, renamed files included.
    """
    result = Tally()
    for item in listed:
        result.seen += 1
        recording = known.get(item.key)
        if recording is None and item.source == Source.LOCAL and item.size_bytes:
            # Renamed: its document follows at `extract`.
            same = known.with_revision(Source.LOCAL, item.revision)
            recording = next((one for one in same if is_gone(one)), None)
        if recording is None:
            what = "the tracker does not know this revision"
            result.problems.append(Problem(ProblemKind.UNKNOWN, item.name, what))
        else:
            result.by_status[recording.status] += 1
            known.mark_seen(recording.key)
    return result


def is_gone(recording: Recording) -> bool:
    """Return whether nothing is at a local recording's path any more."""
    return not os.path.lexists(decode_path(recording.source_id))


def stale(known: Snapshot, now: datetime) -> Iterator[Problem]:
    """Yield the recordings whose worker stopped without ending them."""
    for one in known.with_status(Status.PROCESSING):
        ended = one.lease_expires_at
        if ended is None or now - ended > STALE_AFTER:
            what = "its worker stopped, and no other has taken over"
            yield Problem(ProblemKind.STALE, one.name, what, one)


def missing_audio(known: Snapshot, storage: Storage) -> Iterator[Problem]:
    """Yield each DONE recording whose objects are missing or were changed."""
    for one in known.with_status(Status.DONE):
        if what := _audio_problem(one, storage):
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
    known: Snapshot,
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
    listed: Iterable[SourceFile], known: Snapshot, since: datetime | None
) -> Iterator[SourceFile]:
    """Yield the files of the SFTP server without those that wait for the next nightly run.

    ``since`` is from when on the last run took no files: it left those that were still changing.
    """
    for item in listed:
        if known.get(item.key) or since is None or item.created_at <= since:
            yield item


def wrong_manifest(known: Snapshot, rows: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Compare the manifest's rows with the newest DONE recording of each source.

    The rows are sorted by source, so the two are read side by side.
    """
    files = groupby(known.of_source(Source.SFTP), key=lambda one: one.source_id)
    recordings = ((source, list(revisions)) for source, revisions in files)
    sides = _side_by_side(recordings, ((str(row["source"]), row) for row in rows))
    for source, revisions, row in sides:
        if any(one.status in _IN_FLIGHT for one in revisions or ()):
            continue  # the row is written before DONE
        ended = [one for one in revisions or () if one.status is Status.DONE]
        done = max(ended, key=lambda one: str(one.finished_at), default=None)
        if done is None and row is None:
            continue
        if done is None:
            what = "the manifest has a row, but no recording of it is DONE"
        elif row is None:
            what = "it is DONE, but the manifest has no row"
        elif done.audio and (row["object"], row["bytes"]) != (done.audio.object, done.audio.bytes):
            what = f"the manifest's row names another object or size: {row['object']}"
        else:
            continue
        yield Problem(ProblemKind.MANIFEST, source, what, done)


def _side_by_side(
    left: Iterator[tuple[str, L]], right: Iterator[tuple[str, R]]
) -> Iterator[tuple[str, L | None, R | None]]:
    """Join two sorted iterators by their names; ``None`` where one lacks a name."""
    one, other = next(left, None), next(right, None)
    while one or other:
        name = min(pair[0] for pair in (one, other) if pair)
        mine = one[1] if one and one[0] == name else None
        yours = other[1] if other and other[0] == name else None
        yield name, mine, yours
        if mine is not None:
            one = next(left, None)
        if yours is not None:
            other = next(right, None)
