"""What a Matroska or WebM declares: its Segment's size and its track's duration."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.media.formats.bounded_reader import BoundedReader, Declared, UnknownStructureError

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _SCALE, _DURATION = 0x1549A966, 0x2AD7B1, 0x4489
_TRACKS, _ENTRY, _NUMBER, _UID, _TYPE, _CODEC = 0x1654AE6B, 0xAE, 0xD7, 0x73C5, 0x83, 0x86
_TAGS, _TAG, _TARGETS, _TAG_UID = 0x1254C367, 0x7373, 0x63C0, 0x63C5
_SIMPLE_TAG, _TAG_NAME, _TAG_STRING = 0x67C8, 0x45A3, 0x4487
_CLUSTER, _TIMESTAMP, _SIMPLE_BLOCK, _GROUP, _BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1

_AUDIO = 2
#: Types of track of which FFmpeg makes streams: video, audio, subtitle, metadata.
_STREAM_TYPES = frozenset({1, _AUDIO, 0x11, 0x21})
_DURATION_TEXT = re.compile(rb"(\d{1,5}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)")
_MAX_TEXT = 100


@dataclass(frozen=True)
class _Element:
    id: int
    body: int
    end: int | None  # None: of unknown size


@dataclass
class _Segment:
    start: int
    scale_ns: int = 1_000_000
    duration: float | None = None
    tracks: list[tuple[int, int, int]] = field(default_factory=list)  # number, UID, type
    durations: dict[int, float] = field(default_factory=dict)  # by UID
    tags_at: int | None = None
    first_cluster: int | None = None


def is_matroska(head: bytes) -> bool:
    """Tell whether a file starts as Matroska and WebM do."""
    return head[:4] == b"\x1a\x45\xdf\xa3"


def declared_matroska(reader: BoundedReader, stream_index: int | None) -> Declared:
    """Read the Segment's head and tags; raises ``UnknownStructureError``."""
    header = _element(reader, 0)
    if header.end is None:
        raise UnknownStructureError("an EBML header of unknown size")
    top = _element(reader, header.end)
    if top.id != _SEGMENT:
        raise UnknownStructureError("no Segment")
    if top.end is None:
        return Declared(container="matroska")  # live: nothing is declared
    ends_early = top.end > reader.size
    try:
        duration = _duration(reader, _read(reader, top), stream_index)
    except UnknownStructureError:
        duration = None
    return Declared(
        container="matroska",
        ends_early=ends_early,
        expected_bytes=top.end if ends_early else None,
        audio_duration_s=duration,
    )


def _duration(reader: BoundedReader, segment: _Segment, stream_index: int | None) -> float | None:
    streams = [track for track in segment.tracks if track[2] in _STREAM_TYPES]
    if stream_index is None:
        streams = [track for track in streams if track[2] == _AUDIO]
    number, uid, kind = _at(streams, stream_index or 0)
    if kind != _AUDIO:
        return None
    end = segment.durations.get(uid)
    if end is None and segment.duration is not None:
        end = segment.duration * segment.scale_ns / 1e9
    if end is None or segment.first_cluster is None:
        return None
    # Both durations are the time at which the track ends, so a late start is in them.
    return max(0.0, end - _first_time(reader, segment, number))


def _at(tracks: list[tuple[int, int, int]], index: int) -> tuple[int, int, int]:
    if not 0 <= index < len(tracks):
        raise UnknownStructureError("no such track")
    return tracks[index]


def _element(reader: BoundedReader, offset: int) -> _Element:
    first = reader.uint(offset, 1)
    width = 9 - first.bit_length()
    if width > 4:
        raise UnknownStructureError(f"no element at {offset}")
    identifier = reader.uint(offset, width)
    offset += width
    width = 9 - reader.uint(offset, 1).bit_length()
    if width > 8:
        raise UnknownStructureError(f"a size of {width} bytes")
    mask = (1 << 7 * width) - 1
    size = reader.uint(offset, width) & mask
    body = offset + width
    return _Element(identifier, body, None if size == mask else body + size)


def _children(reader: BoundedReader, start: int, stop: int) -> Iterator[_Element]:
    while start < stop:
        element = _element(reader, start)
        yield element
        if element.end is None:
            return
        start = element.end


def _inside(reader: BoundedReader, parent: _Element) -> Iterator[_Element]:
    if parent.end is None or parent.end > reader.size:
        raise UnknownStructureError("an element without an end")
    return _children(reader, parent.body, parent.end)


def _read(reader: BoundedReader, top: _Element) -> _Segment:
    segment = _Segment(top.body)
    assert top.end is not None
    for element in _children(reader, top.body, min(top.end, reader.size)):
        if element.id == _CLUSTER:
            segment.first_cluster = element.body
            break
        _read_part(reader, element, segment)
    if not segment.durations and segment.tags_at is not None:
        _read_late_tags(reader, segment)
    return segment


def _read_part(reader: BoundedReader, element: _Element, segment: _Segment) -> None:
    if element.id == _INFO:
        _read_info(reader, element, segment)
    elif element.id == _TRACKS:
        entries = (part for part in _inside(reader, element) if part.id == _ENTRY)
        segment.tracks.extend(filter(None, (_track(reader, entry) for entry in entries)))
    elif element.id == _TAGS:
        _read_tags(reader, element, segment)
    elif element.id == _SEEK_HEAD:
        for seek in _inside(reader, element):
            if seek.id == _SEEK:
                _read_seek(reader, seek, segment)


def _read_late_tags(reader: BoundedReader, segment: _Segment) -> None:
    # Where bytes are missing at the end, these are among them.
    try:
        element = _element(reader, segment.tags_at or 0)
        if element.id == _TAGS:
            _read_tags(reader, element, segment)
    except UnknownStructureError:
        return


def _read_seek(reader: BoundedReader, seek: _Element, segment: _Segment) -> None:
    values = {
        part.id: _uint(reader, part)
        for part in _inside(reader, seek)
        if part.id in (_SEEK_ID, _SEEK_POSITION)
    }
    if values.get(_SEEK_ID) == _TAGS and _SEEK_POSITION in values:
        segment.tags_at = segment.start + values[_SEEK_POSITION]


def _read_info(reader: BoundedReader, info: _Element, segment: _Segment) -> None:
    for part in _inside(reader, info):
        if part.id == _SCALE:
            segment.scale_ns = _uint(reader, part)
        elif part.id == _DURATION:
            segment.duration = _float(reader, part)


def _track(reader: BoundedReader, entry: _Element) -> tuple[int, int, int] | None:
    values: dict[int, int] = {}
    has_codec = False
    for part in _inside(reader, entry):
        if part.id in (_NUMBER, _UID, _TYPE):
            values[part.id] = _uint(reader, part)
        has_codec = has_codec or part.id == _CODEC
    # FFmpeg makes no stream of a track that names no codec.
    if not has_codec:
        return None
    return values.get(_NUMBER, 0), values.get(_UID, 0), values.get(_TYPE, 0)


def _read_tags(reader: BoundedReader, tags: _Element, segment: _Segment) -> None:
    for tag in _inside(reader, tags):
        if tag.id != _TAG:
            continue
        uids: list[int] = []
        length: float | None = None
        for part in _inside(reader, tag):
            if part.id == _TARGETS:
                targets = _inside(reader, part)
                uids.extend(_uint(reader, t) for t in targets if t.id == _TAG_UID)
            elif part.id == _SIMPLE_TAG:
                length = _length(reader, part) or length
        if length:
            segment.durations.update(dict.fromkeys(uids, length))


def _length(reader: BoundedReader, tag: _Element) -> float | None:
    texts = {
        part.id: _text(reader, part)
        for part in _inside(reader, tag)
        if part.id in (_TAG_NAME, _TAG_STRING)
    }
    match = _DURATION_TEXT.match(texts.get(_TAG_STRING, b""))
    if texts.get(_TAG_NAME) != b"DURATION" or not match:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _first_time(reader: BoundedReader, segment: _Segment, number: int) -> float:
    """Return the time of a track's first block in seconds."""
    assert segment.first_cluster is not None
    cluster_time = 0
    offset = segment.first_cluster
    while offset < reader.size:
        element = _element(reader, offset)
        if element.id == _TIMESTAMP:
            cluster_time = _uint(reader, element)
        elif element.id in (_SIMPLE_BLOCK, _GROUP):
            since = _block_time(reader, element, number)
            if since is not None:
                return max(0, cluster_time + since) * segment.scale_ns / 1e9
        # The blocks of the next cluster are looked at as well: step into it, not over it.
        offset = element.body if element.id == _CLUSTER else _end(element)
    raise UnknownStructureError("no block of the track")


def _end(element: _Element) -> int:
    if element.end is None:
        raise UnknownStructureError("an element without an end")
    return element.end


def _block_time(reader: BoundedReader, element: _Element, number: int) -> int | None:
    if element.id == _GROUP:
        blocks = [part for part in _inside(reader, element) if part.id == _BLOCK]
        if not blocks:
            return None
        element = blocks[0]
    width = 9 - reader.uint(element.body, 1).bit_length()
    if width > 8:
        raise UnknownStructureError("a block of no track")
    if reader.uint(element.body, width) & ((1 << 7 * width) - 1) != number:
        return None
    return int.from_bytes(reader.at(element.body + width, 2), "big", signed=True)


def _uint(reader: BoundedReader, element: _Element) -> int:
    return int.from_bytes(_short(reader, element, 8), "big")


def _float(reader: BoundedReader, element: _Element) -> float | None:
    content = _short(reader, element, 8)
    if len(content) not in (4, 8):
        return None
    value = float(struct.unpack(">f" if len(content) == 4 else ">d", content)[0])
    return value if 0 < value < 1e15 else None


def _text(reader: BoundedReader, element: _Element) -> bytes:
    return _short(reader, element, _MAX_TEXT).rstrip(b"\0")


def _short(reader: BoundedReader, element: _Element, limit: int) -> bytes:
    length = -1 if element.end is None else element.end - element.body
    if not 0 <= length <= limit:
        raise UnknownStructureError(f"a value of {length} bytes")
    return reader.at(element.body, length)
