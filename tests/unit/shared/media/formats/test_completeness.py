"""What ends early is known by its structure, in bounded reads, and garbage proves nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import TransientError
from shared.media.formats import completeness
from shared.media.formats.bounded_reader import (
    MAX_BYTES,
    MAX_STEPS,
    BoundedReader,
    UnknownStructureError,
)
from shared.media.formats.completeness import WHOLE, Completeness
from tests.media.containers import make_container


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


def examine(content: bytes, size: int | None = None) -> Completeness:
    source = Source(content, size)
    found = completeness.examine(source)
    assert source.bytes_read <= MAX_BYTES
    return found


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


FTYP = box(b"ftyp", b"isom", bytes(4))
MOOV = box(b"moov", box(b"mvhd", bytes(100)))
MDAT = box(b"mdat", bytes(1000))


@pytest.mark.parametrize(
    "content",
    [
        FTYP + MOOV + MDAT,
        FTYP + MDAT + MOOV,
        FTYP + MOOV + MDAT + b"\x93junk that is no box" * 10,
        FTYP + box(b"moov", box(b"mvex")) + box(b"moof") + MDAT[:500],  # fragmented
        FTYP + MDAT + bytes(500),  # its index was overwritten: damaged, but not cut
    ],
)
def test_an_mp4_that_is_whole(content: bytes) -> None:
    assert examine(content) == WHOLE


@pytest.mark.parametrize(
    "content",
    [
        FTYP + MOOV + MDAT[:500],
        FTYP + MDAT,  # before its index
        FTYP + MDAT[:500],
        FTYP + struct.pack(">I4s", 0, b"mdat") + bytes(500),  # an open end, no index
    ],
)
def test_an_mp4_that_ends_early(content: bytes) -> None:
    assert examine(content).ends_early


def test_a_share_of_an_mp4_is_missing() -> None:
    content = FTYP + MOOV + MDAT

    assert examine(content[: len(content) // 2]).declared_share == pytest.approx(2, rel=0.01)


KINDS = (
    *("first.mp4", "last.mp4", "a.mov", "a.mkv", "a.webm", "a.wav", "a.w64", "rf64.wav"),
    *("a.flac", "a.avi", "a.mp3"),
)
#: What declares no length of its audio.
SILENT = ("fragmented.mp4", "live.mkv", "bare.mp3", "a.aac", "a.ogg", "a.opus", "a.ts", "a.mpg")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("completeness")


def content_of(directory: Path, name: str) -> bytes:
    path = directory / name
    return (path if path.exists() else make_container(directory, name, seconds=2)).read_bytes()


@pytest.mark.parametrize("name", [*KINDS, *SILENT])
def test_files_of_ffmpeg_s_own_are_whole(name: str, directory: Path) -> None:
    assert examine(content_of(directory, name)) == WHOLE


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_is_seen(name: str, share: float, directory: Path) -> None:
    content = content_of(directory, name)

    assert examine(content[: int(len(content) * share)]).ends_early


@pytest.mark.parametrize("name", SILENT)
def test_a_format_without_a_length_is_never_cut(name: str, directory: Path) -> None:
    content = content_of(directory, name)

    assert examine(content[: int(len(content) * 0.6)]) == WHOLE


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.wav", 0.01), ("a.w64", 0.01), ("a.flac", 0.01), ("a.mp3", 0.1)]
)
def test_the_declared_length_of_a_cut_file(name: str, tolerance: float, directory: Path) -> None:
    content = content_of(directory, name)

    assert examine(content[: len(content) // 2]).duration_s == pytest.approx(2, abs=tolerance)


def test_a_flac_that_was_cut_between_two_frames_is_whole(directory: Path) -> None:
    content = content_of(directory, "a.flac")
    sync = content.find(b"\xff\xf8", 42)
    starts = [sync]
    while (at := content.find(content[sync : sync + 4], starts[-1] + 1)) > 0:
        starts.append(at)

    assert examine(content[: starts[len(starts) // 2]]) == WHOLE
    assert examine(content[: starts[len(starts) // 2] + 40]).ends_early


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0AVI ",
        b"fLaC",
        b"ID3\4\0\0\x7f\x7f\x7f\x7f",
        b"\0\0\0\0ftyp",
        b"\xff\xfb\x90\x00",
    ],
)
@given(tail=st.binary(max_size=300), size=st.integers(0, 1 << 40))
def test_garbage_is_examined_within_bounds(head: bytes, tail: bytes, size: int) -> None:
    content = head + tail

    examine(content)
    examine(content, max(len(content), size))


def test_an_error_of_the_source_passes_through() -> None:
    class Broken(Source):
        def read(self, offset: int, length: int) -> bytes:
            raise TransientError("the connection broke")

    with pytest.raises(TransientError):
        completeness.examine(Broken(FTYP))


def read_at(reader: BoundedReader, offsets: range) -> None:
    for offset in offsets:
        reader.at(offset, 4)


@pytest.mark.parametrize(
    "offsets",
    [range(0, 4 * MAX_STEPS + 4, 4), range(0, MAX_STEPS << 20, 1 << 20)],
    ids=["steps", "bytes"],
)
def test_a_reader_gives_up_when_its_budget_is_spent(offsets: range) -> None:
    reader = BoundedReader(Source(b"", 1 << 40))

    with pytest.raises(UnknownStructureError):
        read_at(reader, offsets)


@pytest.mark.parametrize(("share", "ends_early"), [(0.5, True), (0.99, True), (1, False)])
def test_the_seek_table_of_a_tta(share: float, ends_early: bool) -> None:
    """Three frames, of 256/245 s each, and half of one."""
    sizes = (4000, 4100, 3900, 2000)
    head = b"TTA1" + struct.pack("<HHHIII", 1, 1, 16, 24500, 25600 * 7 // 2, 0)
    table = struct.pack("<4I", *sizes) + bytes(4)
    whole = len(head) + len(table) + sum(sizes)

    found = examine(head + table, int(whole * share))

    assert found.ends_early == ends_early
    assert not ends_early or found.duration_s == pytest.approx(3.5 * 256 / 245)
