"""The boxes of an MP4 or MOV (ISO/IEC 14496-12), as far as decisions need them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from shared.core.ports import ByteSource
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError


class Box(NamedTuple):
    """A box: its name, the offset of its content, and of its end. The size is the file's claim."""

    kind: bytes
    body: int
    end: int


def boxes(reader: BoundedReader, start: int, stop: int | None) -> Iterator[Box]:
    """Yield the boxes in a range; with ``stop=None`` those of the file, which may run past it."""
    limit = reader.size if stop is None else stop
    while start + 8 <= limit:
        size, kind, head = reader.uint(start, 4), reader.at(start + 4, 4), 8
        if size == 1:
            size, head = reader.uint(start + 8, 8), 16
        elif size == 0:
            size = limit - start
        if size < head or (stop is not None and start + size > stop):
            raise UnknownStructureError(f"a box of {size} bytes at {start}")
        yield Box(kind, start + head, start + size)
        start += size


def has(reader: BoundedReader, parent: Box, kind: bytes) -> bool:
    """Return whether a box directly contains one of this kind."""
    try:
        return any(box.kind == kind for box in boxes(reader, parent.body, parent.end))
    except UnknownStructureError:
        return False


def duration_s(reader: BoundedReader, index: Box) -> float | None:
    """Return the length that the index (``moov``) declares, ``None`` where it declares none."""
    for box in boxes(reader, index.body, index.end):
        if box.kind == b"mvhd":
            width = 8 if reader.uint(box.body, 1) == 1 else 4
            scale = reader.uint(box.body + 4 + 2 * width, 4)
            ticks = reader.uint(box.body + 8 + 2 * width, width)
            return ticks / scale if scale and 0 < ticks < (1 << 8 * width) - 1 else None
    return None


def has_index(source: ByteSource) -> bool:
    """Return whether an MP4 has an index with a header, even if it lists no track."""
    return any(_within(source, b"moov", b"mvhd"))


def has_more_tracks_than(source: ByteSource, most: int) -> bool:
    """Return whether the index of an MP4 lists more than ``most`` tracks."""
    return len(list(islice(_within(source, b"moov", b"trak"), most + 1))) > most


def names_other_files(source: ByteSource) -> bool:
    """Return whether the media of a track is in another file: its reference is not "here"."""
    reader = BoundedReader(source)
    path = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    try:
        return any(
            not reader.uint(entry.body, 4) & 1
            for references in _within(source, *path)
            for entry in boxes(reader, references.body + 8, references.end)
        )
    except UnknownStructureError:
        return False


def _within(source: ByteSource, *path: bytes) -> Iterator[Box]:
    """Yield the whole boxes at a path; a damaged structure ends it."""
    reader = BoundedReader(source)

    def inner(start: int, stop: int | None, names: tuple[bytes, ...]) -> Iterator[Box]:
        for box in boxes(reader, start, stop):
            if box.kind == names[0] and box.end <= reader.size:
                if len(names) == 1:
                    yield box
                else:
                    yield from inner(box.body, box.end, names[1:])

    try:
        yield from inner(0, None, path)
    except UnknownStructureError:
        return
