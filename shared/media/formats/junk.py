"""Junk around a container: a header of HTTP, the rest of another file, an empty block."""

from __future__ import annotations

import re

from shared.core.ports import ByteSource

#: How far the start of a container is looked for.
MAX_BYTES = 4 << 20
_HEAD_BYTES = 4096
#: The longest page of an Ogg (RFC 3533, 6).
_PAGE_BYTES = 27 + 255 + 255 * 255


def _packets(size: int, before: int) -> bytes:
    """Return the pattern of eight packets of ``size`` bytes with a sync byte behind ``before``."""
    return b".{%d}\x47(?:.{%d}\x47){7}" % (before, size - 1)


#: What a container starts with, by FFmpeg's name of its demuxer. None of these contains absolute
#: positions that junk would move, as an MP4 does.
_STARTS = {
    # STREAMINFO is first, 34 bytes (RFC 9639, 8.2).
    "flac": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    # The first page of a stream (RFC 3533, 6).
    "ogg": re.compile(rb"OggS\x00\x02"),
    # The EBML header, and in it the type of document (RFC 8794, 11.2).
    "matroska": re.compile(rb"\x1aE\xdf\xa3.{1,60}?\x42\x82.{1,8}?(?:matroska|webm)", re.DOTALL),
    # Plain, with a time before each packet (M2TS), and with a checksum behind it.
    "mpegts": re.compile(
        b"(?:%b|%b|%b)" % (_packets(188, 0), _packets(192, 4), _packets(204, 0)), re.DOTALL
    ),
}


def bytes_before(source: ByteSource, demuxer: str) -> int:
    """Return how many bytes of junk precede the container that ``demuxer`` reads.

    0 where none is found, and for a tag, which FFmpeg skips by itself.
    """
    start = _STARTS.get(demuxer)
    head = source.read(0, min(_HEAD_BYTES, source.size))
    if start is None or start.match(head) or head.startswith(b"ID3"):
        return 0
    found = start.search(source.read(0, min(MAX_BYTES, source.size)))
    return found.start() if found else 0


def ends_as_ogg(source: ByteSource) -> bool:
    """Return whether a page of an Ogg is near the end of the file."""
    start = max(0, source.size - _PAGE_BYTES)
    return b"OggS\x00" in source.read(start, source.size - start)
