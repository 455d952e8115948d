"""Elements of a Matroska or WebM (RFC 9559), as far as decisions need them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from shared.core.ports import ByteSource
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError

_EBML_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_INFO, _TIMESTAMP_SCALE, _DURATION, _TIMESTAMP = 0x1549A966, 0x2AD7B1, 0x4489, 0xE7
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0

#: The first bytes of every such file.
SIGNATURE = _EBML_HEADER.to_bytes(4, "big")


class Element(NamedTuple):
    """An element: its id, where its content begins, and where it ends (``None``: unknown)."""

    kind: int
    body: int
    end: int | None


class Times(NamedTuple):
    """The declared length, and the time of the first Cluster, in seconds, where there are any."""

    duration_s: float | None
    first_s: float | None


def segment(reader: BoundedReader) -> Element:
    """Return the Segment. One whose end is unknown is that of a live recording."""
    kind, _, end = _element(reader, 0)
    if kind != _EBML_HEADER or end is None:
        raise UnknownStructureError("no EBML header")
    found = _element(reader, end)
    if found.kind != _SEGMENT:
        raise UnknownStructureError("no Segment")
    return found


def times(reader: BoundedReader, body: int) -> Times:
    """Return the times that the Segment whose content starts at ``body`` declares."""
    scale, ticks, first = 1_000_000, 0.0, None
    for kind, at, end in _elements(reader, body, into=(_INFO, _CLUSTER)):
        if end is None:
            continue
        if kind == _TIMESTAMP_SCALE:
            scale = reader.uint(at, end - at)
        elif kind == _DURATION:
            (ticks,) = struct.unpack(">f" if end - at == 4 else ">d", reader.at(at, end - at))
        elif kind == _TIMESTAMP:
            first = reader.uint(at, end - at)
        if kind in (_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP):
            break
    return Times(
        duration_s=ticks * scale / 1e9 if math.isfinite(ticks) and ticks > 0 else None,
        first_s=None if first is None else first * scale / 1e9,
    )


def first_time_s(source: ByteSource) -> float | None:
    """Return the time of the first Cluster in seconds, ``None`` for a structure without one.

    It is the time of the recording's first packet, whatever its track. Clocks that count from the
    start of a machine begin far from zero.
    """
    reader = BoundedReader(source)
    try:
        return times(reader, segment(reader).body).first_s
    except UnknownStructureError:
        return None


def _elements(reader: BoundedReader, at: int, into: tuple[int, ...]) -> Iterator[Element]:
    """Yield the elements from ``at`` on, and those within elements of the kinds ``into``."""
    while at < reader.size:
        element = _element(reader, at)
        yield element
        if element.kind in into:
            at = element.body
        elif element.end is None:
            return
        else:
            at = element.end


def _element(reader: BoundedReader, offset: int) -> Element:
    width = 9 - reader.uint(offset, 1).bit_length()
    if width > 4:
        raise UnknownStructureError(f"no element at {offset}")
    kind = reader.uint(offset, width)
    offset += width
    width = 9 - reader.uint(offset, 1).bit_length()
    if width > 8:
        raise UnknownStructureError(f"a size of {width} bytes")
    mask = (1 << 7 * width) - 1
    size, body = reader.uint(offset, width) & mask, offset + width
    return Element(kind, body, None if size == mask else body + size)
