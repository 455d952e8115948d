"""declared() answers for any bytes, within its limit of reads, and trusts no odd value."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.errors import TransientError
from shared.media.formats.bounded_reader import (
    MAX_BYTES,
    MAX_STEPS,
    BoundedReader,
    UnknownStructureError,
)
from shared.media.formats.declared import Declared, declared

NOTHING = Declared()


class Source:
    """Bytes in memory, followed by zeros up to ``size``; counts what is read."""

    local_path = None

    def __init__(self, content: bytes, size: int | None = None) -> None:
        self.content = content
        self.size = len(content) if size is None else size
        self.bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        self.bytes_read += length
        return self.content[offset : offset + length].ljust(length, b"\0")

    def check_unchanged(self) -> None:
        """Nothing here ever changes."""

    def close(self) -> None:
        """Nothing to release."""


def ask(content: bytes, stream_index: int | None = None, size: int | None = None) -> Declared:
    source = Source(content, size)
    says = declared(source, stream_index)
    assert source.bytes_read <= MAX_BYTES
    duration = says.audio_duration_s
    assert duration is None or (math.isfinite(duration) and duration >= 0)
    assert says.expected_bytes is None or says.expected_bytes > source.size
    assert not (says.counted and duration is None)
    return says


# MP4


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]), *parts)


def mvhd(timescale: int = 1000) -> bytes:
    return full(b"mvhd", bytes(8), struct.pack(">II", timescale, 0))


def track(
    *runs: tuple[int, int],
    timescale: int = 48000,
    handler: bytes = b"soun",
    edits: bytes = b"",
) -> bytes:
    entries = b"".join(struct.pack(">II", *run) for run in runs)
    stts = full(b"stts", struct.pack(">I", len(runs)), entries)
    mdhd = full(b"mdhd", bytes(8), struct.pack(">II", timescale, 0))
    media = box(b"mdia", mdhd, full(b"hdlr", bytes(4), handler), box(b"minf", box(b"stbl", stts)))
    return box(b"trak", box(b"edts", edits) if edits else b"", media)


def elst(*edits: tuple[int, int]) -> bytes:
    packed = b"".join(struct.pack(">IiI", duration, start, 1 << 16) for duration, start in edits)
    return full(b"elst", struct.pack(">I", len(edits)), packed)


FTYP = box(b"ftyp", b"isom", bytes(4))
MDAT = box(b"mdat", bytes(1000))


def mp4(*tracks: bytes) -> bytes:
    return FTYP + box(b"moov", mvhd(), *tracks) + MDAT


def length(content: bytes, stream_index: int | None = None) -> float | None:
    return ask(content, stream_index).audio_duration_s


def test_the_sample_table_is_what_counts() -> None:
    assert length(mp4(track((94, 1024), (1, 100)))) == pytest.approx((94 * 1024 + 100) / 48000)


def test_an_edit_list_leaves_out() -> None:
    whole = (48000, 1)
    assert length(mp4(track(whole, edits=elst((400, 4800))))) == pytest.approx(0.4)
    assert length(mp4(track(whole, edits=elst((2000, -1), (0, 4800))))) == pytest.approx(0.9)
    assert length(mp4(track(whole, edits=elst((200, 0), (300, 24000))))) == pytest.approx(0.5)
    # One that plays more than there is adds nothing.
    assert length(mp4(track(whole, edits=elst((9000, 0))))) == pytest.approx(1)
    assert length(mp4(track(whole, edits=elst((1000, 0), (1000, 0))))) == pytest.approx(1)
    assert length(mp4(track(whole, edits=elst((1000, 99999))))) == 0
    assert length(mp4(track(whole, edits=elst()))) == pytest.approx(1)


def test_an_edit_list_of_version_1() -> None:
    long = full(b"elst", struct.pack(">IQqI", 1, 250, 0, 1 << 16), version=1)
    assert length(mp4(track((48000, 1), edits=long))) == pytest.approx(0.25)


def test_packets_that_last_too_long_are_gaps() -> None:
    assert length(mp4(track((50, 1024), (1, 480_000), (50, 1024)))) == pytest.approx(
        101 * 1024 / 48000
    )
    assert length(mp4(track((60, 21), (30, 22), timescale=1000))) == pytest.approx(1.92)


def test_tracks_are_counted_as_ffmpeg_counts_them() -> None:
    content = mp4(track((5, 1), handler=b"vide"), track((48000, 1)), track((96000, 1)))
    assert [length(content, n) for n in (None, 0, 1, 2, 3, -1)] == [1, None, 1, 2, None, None]


@pytest.mark.parametrize(
    "broken",
    [
        track((1, 1), timescale=0),
        track((1, 1), edits=full(b"elst", struct.pack(">I", 0xFFFFFFFF))),
        box(b"trak", track((1, 1))[8:-20]),
        box(b"trak", b"\0\0\0\1mdia" + b"\xff" * 8),
        box(b"trak", b"\0\0\0\4mdia"),
        b"\xff\xff\xff\xfftrak" + bytes(20),
        track((1, 1)).replace(b"\0\0\0\1\0\0\0\1\0\0\0\1", b"\xff\xff\xff\xff" + b"\0\0\0\1" * 2),
    ],
)
def test_a_broken_index_tells_nothing(broken: bytes) -> None:
    says = ask(mp4(broken))
    assert (says.ends_early, says.audio_duration_s) == (False, None)
    # That bytes are missing is known all the same.
    assert ask(mp4(broken)[:-100]).ends_early


def test_a_cut_file_and_its_expected_size() -> None:
    content = mp4(track((48000, 1)))
    says = ask(content[:-300])
    assert says.ends_early
    assert says.expected_bytes == len(content)
    assert says.audio_duration_s == 1


def test_boxes_with_8_byte_sizes() -> None:
    index = box(b"moov", mvhd(), track((48000, 1)))
    wide = struct.pack(">I4sQ", 1, b"moov", len(index) + 8) + index[8:]
    data = struct.pack(">I4sQ", 1, b"mdat", 5 << 30)
    says = ask(FTYP + wide + data, size=6 << 30)
    assert (says.ends_early, says.audio_duration_s) == (False, 1)
    says = ask(FTYP + data, size=5 << 30)
    assert says.ends_early
    assert says.expected_bytes == len(FTYP) + (5 << 30)


@pytest.mark.parametrize("size", [(1, 0), (1, 15), (1, (1 << 64) - 1), (7, None), (2, None)])
def test_sizes_that_cannot_be(size: tuple[int, int | None]) -> None:
    short, long = size
    header = struct.pack(">I4s", short, b"free") + (
        b"" if long is None else struct.pack(">Q", long)
    )
    says = ask(FTYP + header + bytes(100))
    assert says.audio_duration_s is None
    assert says.ends_early == (long == (1 << 64) - 1)


def test_data_to_the_end_of_the_file() -> None:
    assert not ask(FTYP + box(b"moov", track((1, 1))) + b"\0\0\0\0mdat" + bytes(99)).ends_early
    assert ask(FTYP + b"\0\0\0\0mdat" + bytes(99)).ends_early


def test_fragments_declare_nothing() -> None:
    index = box(b"moov", mvhd(), track((48000, 1)), box(b"mvex"))
    for content in (FTYP + index + MDAT, FTYP + box(b"moof") + MDAT, FTYP + index + MDAT[:-9]):
        assert ask(content) == Declared(container="mp4")


def test_nesting_and_loops_end() -> None:
    deep = b""
    for _ in range(2000):
        deep = box(b"trak", box(b"mdia", deep))
    assert length(mp4(deep)) is None
    assert length(FTYP + box(b"moov", b"\0\0\0\x08trak" * 50_000) + MDAT) is None
    assert ask(FTYP + b"\0\0\0\x08free" * 50_000) == NOTHING


def test_a_huge_table_is_not_read() -> None:
    entries = 1 << 27
    stts = full(b"stts", struct.pack(">I", entries))
    stts = struct.pack(">I", 16 + 8 * entries) + stts[4:]
    mdhd = full(b"mdhd", bytes(8), struct.pack(">II", 48000, 0))
    sizes = [8 * entries + 16]
    nested = stts
    for kind, before in (
        *((b"stbl", b""), (b"minf", b""), (b"mdia", mdhd + full(b"hdlr", bytes(4), b"soun"))),
        *((b"trak", b""), (b"moov", mvhd())),
    ):
        nested = before + nested
        sizes.append(8 + len(before) + sizes[-1])
        nested = struct.pack(">I4s", sizes[-1], kind) + nested
    assert ask(FTYP + nested, size=2 << 30).audio_duration_s is None


# Matroska


def ebml(identifier: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    width = (identifier.bit_length() + 7) // 8
    return identifier.to_bytes(width, "big") + struct.pack(">Q", 1 << 56 | len(body)) + body


def webm(
    *, scale: int = 1_000_000, duration: float = 5000, tag: bytes = b"", late: int = 0
) -> bytes:
    info = ebml(
        *(0x1549A966, ebml(0x2AD7B1, scale.to_bytes(8, "big"))),
        ebml(0x4489, struct.pack(">d", duration)),
    )
    entry = ebml(
        *(0xAE, ebml(0xD7, b"\1"), ebml(0x73C5, b"\7"), ebml(0x83, b"\2"), ebml(0x86, b"A_OPUS")),
    )
    simple = ebml(0x67C8, ebml(0x45A3, b"DURATION"), ebml(0x4487, tag))
    targets = ebml(0x63C0, ebml(0x63C5, b"\7"))
    tags = ebml(0x1254C367, ebml(0x7373, targets, simple)) if tag else b""
    block = ebml(0xA3, b"\x81" + struct.pack(">hB", 0, 0x80) + bytes(500))
    cluster = ebml(0x1F43B675, ebml(0xE7, late.to_bytes(4, "big")), block)
    segment = ebml(0x18538067, info, ebml(0x1654AE6B, entry), tags, cluster)
    return ebml(0x1A45DFA3, ebml(0x4282, b"webm")) + segment


def test_a_tag_comes_before_the_segment_s_duration() -> None:
    assert length(webm()) == 5
    assert length(webm(tag=b"00:00:04.500000000\0\0")) == 4.5
    assert length(webm(tag=b"01:02:03.5", late=1000)) == 3722.5
    assert length(webm(tag=b"nonsense")) == 5
    assert length(webm(), 0) == 5
    assert length(webm(), 1) is None


@pytest.mark.parametrize("duration", [math.nan, math.inf, -1.0, 0.0, 1e300])
def test_durations_that_cannot_be(duration: float) -> None:
    assert length(webm(duration=duration)) is None


def test_a_cut_segment() -> None:
    content = webm()
    says = ask(content[:-100])
    assert says.ends_early
    assert (says.expected_bytes, says.audio_duration_s) == (len(content), 5)


def test_a_live_segment() -> None:
    content = bytearray(webm())
    start = content.index(b"\x18\x53\x80\x67") + 4
    content[start : start + 8] = b"\1" + b"\xff" * 7
    assert ask(bytes(content)[:-100]) == Declared(container="matroska")


# Sound


def wav(data: int, *, kind: int = 1, block: int = 4, rate: int = 1000, size: int = 100) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, 2, rate, block * rate, block, 16)
    chunk = struct.pack("<4sI", b"LIST", 3) + b"odd\0"
    return b"RIFF\0\0\0\0WAVE" + form + chunk + struct.pack("<4sI", b"data", data) + bytes(size)


def test_wav() -> None:
    assert length(wav(80)) == 0.02
    says = ask(wav(8000))
    assert (says.ends_early, says.audio_duration_s) == (True, 2)
    assert says.expected_bytes == len(wav(8000, size=8000))


@pytest.mark.parametrize("lie", [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_sizes_of_wav_that_no_writer_meant(lie: int) -> None:
    assert ask(wav(lie)) == Declared(container="wav")


@pytest.mark.parametrize(("block", "rate"), [(0, 1000), (4, 0), (0, 0)])
def test_wav_that_divides_by_zero(block: int, rate: int) -> None:
    assert length(wav(80, block=block, rate=rate)) is None


def test_avi_whose_streams_never_end() -> None:
    endless = b"strh\0\0\0\0" * 50_000
    content = b"RIFF" + struct.pack("<I", 20 + len(endless)) + b"AVI LIST\xff\xff\0\0hdrl" + endless
    assert length(content, 999_999) is None


# Anything


STARTS = (
    *(b"", FTYP, mp4(track((48000, 1))), webm(), webm(tag=b"00:00:01.0"), wav(80)),
    *(b"fLaC\0\0\0\x22" + bytes(40), b"ID3\4\0\0\0\0\0\5hello\xff\xfb\x90\x64" + bytes(32)),
    *(b"\xff\xfb\x90\x64" + bytes(32) + b"Xing\0\0\0\xff", b"RIFF\x40\0\0\0AVI LIST"),
    bytes.fromhex("726966662e91cf11a5d628db04c10000") + bytes(8)
    + bytes.fromhex("77617665f3acd3118cd100c04f8edb8a"),
)  # fmt: skip


@settings(max_examples=400)
@given(st.sampled_from(STARTS), st.binary(max_size=300), st.sampled_from([None, 0, 1, -1]))
def test_garbage_after_a_good_start(start: bytes, rest: bytes, index: int | None) -> None:
    ask(start + rest, index)
    ask(start + rest, index, size=1 << 40)


@settings(max_examples=400)
@given(
    st.sampled_from(STARTS),
    st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 800),
)
def test_good_files_with_bytes_changed_and_cut(
    start: bytes, changes: list[tuple[int, bytes]], stop: int
) -> None:
    content = bytearray(start)
    for offset, new in changes:
        content[offset : offset + len(new)] = new
    ask(bytes(content[:stop]))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes(content: bytes) -> None:
    ask(content)


def test_an_error_of_the_source_passes_through() -> None:
    class Failing(Source):
        def read(self, offset: int, length: int) -> bytes:
            raise TransientError("the network is down")

    with pytest.raises(TransientError):
        declared(Failing(MDAT))


def read_all(reader: BoundedReader, offsets: range) -> None:
    for offset in offsets:
        reader.at(offset, 1)


def test_the_reader_is_bounded() -> None:
    with pytest.raises(UnknownStructureError, match="too much"):
        read_all(BoundedReader(Source(b"", size=1 << 40)), range(0, 1 << 40, 1 << 20))
    with pytest.raises(UnknownStructureError, match="too many"):
        read_all(BoundedReader(Source(b"", size=MAX_STEPS + 1)), range(MAX_STEPS + 1))
    for offset, size in ((-1, 1), (0, 11), (10, 1), (5, -1), (1 << 70, 1)):
        with pytest.raises(UnknownStructureError):
            BoundedReader(Source(bytes(10))).at(offset, size)
