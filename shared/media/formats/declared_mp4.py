"""What an MP4 or MOV declares: its boxes, and the sample table of its audio track."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from shared.media.formats.bounded_reader import BoundedReader, Declared, UnknownStructureError

_TOP_LEVEL = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"sidx"}
    | {b"moof", b"mfra", b"meta", b"udta", b"PICT", b"pdin", b"emsg", b"prft", b"ssix", b"junk"}
)
#: Of the largest tables: 3 hours of audio in which no two neighbours last equally long.
_MAX_TABLE_BYTES = 4 << 20
_MAX_EDITS = 1000


@dataclass(frozen=True)
class _Box:
    kind: bytes
    body: int
    end: int


def is_mp4(head: bytes) -> bool:
    """Tell whether a file starts with a box of an MP4 or MOV."""
    return head[4:8] in _TOP_LEVEL


def declared_mp4(reader: BoundedReader, stream_index: int | None) -> Declared:
    """Read the boxes of the file and the index of its audio track.

    Raises ``UnknownStructureError`` where the boxes do not fit one into another.
    """
    index: _Box | None = None
    end, last = 0, b""
    for box in _boxes(reader, 0, None):
        if box.kind not in _TOP_LEVEL:
            break
        end, last = box.end, box.kind
        if box.kind == b"moov" and box.end <= reader.size:
            index = box
        if box.kind == b"moof" or _is_fragmented(reader, index):
            return Declared(container="mp4")  # of its audio's length it says nothing
    duration = _try_duration(reader, index, stream_index)
    # The index is written last: a file that ends with its data has lost it.
    is_cut = end > reader.size or (index is None and last == b"mdat")
    return Declared(
        container="mp4",
        ends_early=is_cut,
        expected_bytes=end if end > reader.size else None,
        audio_duration_s=duration,
        counted=duration is not None,
    )


def _try_duration(
    reader: BoundedReader, index: _Box | None, stream_index: int | None
) -> float | None:
    # Whether bytes are missing is known by now, and stays so when the index is damaged.
    try:
        return _duration(reader, index, stream_index) if index else None
    except UnknownStructureError:
        return None


def _is_fragmented(reader: BoundedReader, index: _Box | None) -> bool:
    if index is None:
        return False
    try:
        return any(box.kind == b"mvex" for box in _boxes(reader, index.body, index.end))
    except UnknownStructureError:
        return False


def _boxes(reader: BoundedReader, start: int, stop: int | None) -> Iterator[_Box]:
    """Yield the boxes in a range; with ``stop=None`` those of the file, which may run past it."""
    limit = reader.size if stop is None else stop
    while start + 8 <= limit:
        size, kind = reader.uint(start, 4), reader.at(start + 4, 4)
        header = 8
        if size == 1:
            size, header = reader.uint(start + 8, 8), 16
        elif size == 0:
            size = limit - start
        end = start + size
        if size < header or (stop is not None and end > stop):
            raise UnknownStructureError(f"a box of {size} bytes at {start}")
        yield _Box(kind, start + header, end)
        start = end


def _child(reader: BoundedReader, parent: _Box, *path: bytes) -> _Box | None:
    found: _Box | None = parent
    for kind in path:
        assert found is not None
        children = _boxes(reader, found.body, found.end)
        found = next((box for box in children if box.kind == kind), None)
        if found is None:
            return None
    return found


def _needed(reader: BoundedReader, parent: _Box, *path: bytes) -> _Box:
    box = _child(reader, parent, *path)
    if box is None:
        raise UnknownStructureError(f"no {path[-1]!r}")
    return box


def _duration(reader: BoundedReader, index: _Box, stream_index: int | None) -> float | None:
    track = _track(reader, index, stream_index)
    if track is None:
        return None
    timescale = _timescale(reader, _needed(reader, track, b"mdia", b"mdhd"))
    total, without_gaps = _samples(
        reader, _needed(reader, track, b"mdia", b"minf", b"stbl", b"stts")
    )
    edits = _child(reader, track, b"edts", b"elst")
    left_out = 0.0
    if edits is not None:
        movie = _timescale(reader, _needed(reader, index, b"mvhd"))
        left_out = max(0.0, total - _played(reader, edits, total, timescale / movie))
    return max(0.0, without_gaps - left_out) / timescale


def _track(reader: BoundedReader, index: _Box, stream_index: int | None) -> _Box | None:
    # FFmpeg makes one stream of each track, in their order.
    tracks = (box for box in _boxes(reader, index.body, index.end) if box.kind == b"trak")
    for number, track in enumerate(tracks):
        if stream_index not in (None, number):
            continue
        handler = _child(reader, track, b"mdia", b"hdlr")
        is_audio = handler is not None and reader.at(handler.body + 8, 4) == b"soun"
        if is_audio:
            return track
        if stream_index is not None:
            return None
    return None


def _timescale(reader: BoundedReader, header: _Box) -> int:
    # Both mvhd and mdhd: version 1 has two times of 8 bytes before it, version 0 of 4.
    is_long = reader.uint(header.body, 1) == 1
    timescale = reader.uint(header.body + (20 if is_long else 12), 4)
    if not timescale:
        raise UnknownStructureError("a timescale of zero")
    return timescale


def _samples(reader: BoundedReader, table: _Box) -> tuple[int, float]:
    """Return the track's length in its timescale: as it is written, and without gaps.

    A gap is written as a packet that lasts too long: what plays of it is a packet.
    """
    entries = reader.uint(table.body + 4, 4)
    if 8 * entries > min(_MAX_TABLE_BYTES, table.end - table.body - 8):
        raise UnknownStructureError(f"{entries} entries of stts")
    counts: Counter[int] = Counter()
    content = reader.at(table.body + 8, 8 * entries)
    for count, delta in struct.iter_unpack(">II", content):
        counts[delta] += count
    if not counts:
        return 0, 0.0
    typical = counts.most_common(1)[0][0]
    total = sum(count * delta for delta, count in counts.items())
    longest = 1.5 * typical
    without_gaps = sum(
        count * (delta if delta <= longest else typical) for delta, count in counts.items()
    )
    return total, float(without_gaps)


def _played(reader: BoundedReader, edits: _Box, total: int, ratio: float) -> float:
    """Return how much of the track its edit list plays, in the track's timescale."""
    is_long = reader.uint(edits.body, 1) == 1
    entries = reader.uint(edits.body + 4, 4)
    layout = struct.Struct(">QqI" if is_long else ">IiI")
    if entries > _MAX_EDITS or entries * layout.size > edits.end - edits.body - 8:
        raise UnknownStructureError(f"{entries} edits")
    if not entries:
        return total
    played = 0.0
    for duration, start, _ in layout.iter_unpack(reader.at(edits.body + 8, entries * layout.size)):
        if start >= 0:  # -1 is silence before the track, which is no audio of it
            left = max(0, total - start)
            played += min(duration * ratio, left) if duration else left
    return played
