"""A local file that was renamed or moved: its document and its objects follow it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from shared.core import naming
from shared.core.errors import ConflictError
from shared.core.message import Source, SourceFile
from shared.core.ports import Storage
from shared.core.records import Recording, Status
from shared.tracking.tracker import Tracker


def earlier_document(tracker: Tracker, item: SourceFile) -> Recording | None:
    """Return the document of a local file under its old path, or ``None``.

    It has the same revision, and its path is gone: a file whose path still exists was
    copied, not renamed. Empty files all have one revision, so they are never matched.
    """
    if item.source != Source.LOCAL or not item.size_bytes or tracker.get(item.key):
        return None
    gone = [
        one
        for one in tracker.with_revision(item.source, item.revision)
        if not os.path.lexists(naming.decode_path(one.source_id))
    ]
    return max(gone, key=lambda one: one.status is Status.DONE, default=None)


def follow(tracker: Tracker, storage: Storage, item: SourceFile) -> Recording | None:
    """Move the document of a renamed file to its new path; return it, or ``None``.

    The objects keep their names. Their metadata is rewritten first, so that a crash before
    the document moves leaves a state from which the next call continues.
    """
    old = earlier_document(tracker, item)
    if old is None:
        return None
    if old.audio is not None:
        names = [old.audio.object, naming.waveform_object(old.audio.object)]
        if old.chunks:
            names += [chunk.object for chunk in old.chunks]
            names.append(naming.chunks_index_object(old.audio.object))
        for name in names:
            _rewrite_metadata(storage, name, old, item)
    return tracker.move(old.key, item)


def _rewrite_metadata(storage: Storage, name: str, old: Recording, item: SourceFile) -> None:
    there = storage.stat(name)
    if there is None or there.metadata.get("key") != old.key:
        return
    with tempfile.NamedTemporaryFile() as copy:
        with storage.open(name) as content:
            shutil.copyfileobj(content, copy)
        copy.flush()
        metadata = {**there.metadata, "key": item.key, "source_id": item.source_id}
        if "title" in metadata:
            metadata["title"] = item.name
        try:
            storage.put(
                name,
                Path(copy.name),
                content_type=there.content_type,
                metadata=metadata,
                if_generation=there.generation,
            )
        except ConflictError:
            return  # another process follows the same file
