"""Files that are built to use up memory or time: each ends with a clear code, and soon."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code
from shared.core.records import Status
from shared.media.source.inputs import MAX_TRACKS
from tests.media import clips
from tests.media.rig import RangeSources, Rig


@pytest.fixture(params=["local", "served"])
def either(request: pytest.FixtureRequest, worker: Rig) -> Rig:
    """The worker, with local files and with files that are read by range."""
    if request.param == "served":
        worker.sources = RangeSources
    return worker


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """Fail when this program takes more memory than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


def wav(rate: int, channels: int, data: bytes, *, before: bytes = b"") -> bytes:
    block = 2 * channels & 0xFFFF
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block, 16)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + before
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def element(identifier: str, body: bytes) -> bytes:
    return bytes.fromhex(identifier) + (len(body) | 1 << 56).to_bytes(8, "big") + body


UNKNOWN_SIZE = bytes.fromhex("01ffffffffffffff")
EBML = element("1a45dfa3", element("4282", b"matroska"))


#: A block of a thousand samples of track 1, which FFmpeg reads the tracks for.
CLUSTER = element("1f43b675", element("e7", b"\0") + element("a3", b"\x81\0\0\x80" + bytes(4000)))


def matroska(body: bytes) -> bytes:
    return EBML + element("18538067", body + CLUSTER)


def track(number: int) -> bytes:
    audio = element("e1", element("b5", struct.pack(">d", 48000)) + element("9f", b"\2"))
    kind = element("83", b"\2") + element("86", b"A_PCM/INT/LIT")
    return element("ae", element("d7", number.to_bytes(4, "big")) + kind + audio)


@pytest.mark.parametrize(
    ("rate", "preset"),
    # It is refused before the preset matters.
    [
        *((0, "mp3"), (1, "copy"), (8, "whisper"), (999, "mp3"), (3_000_001, "copy")),
        *((2**31 - 1, "whisper"), (2**31, "mp3"), (2**32 - 1, "copy")),
    ],
)
def test_a_rate_that_no_sound_has(rate: int, preset: str, either: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    clip.write_bytes(wav(rate, 1, bytes(200_000)))

    made = either.extract(clip, preset)

    assert made.recording.error is not None
    made.ended_as(Status.FAILED, made.recording.error.code)
    assert made.recording.error.code in (Code.UNSUPPORTED_CODEC, Code.CORRUPT)


@pytest.mark.parametrize("channels", [0, 65, 255, 2048, 65535])
def test_channels_that_no_sound_has(channels: int, either: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    clip.write_bytes(wav(48000, channels, bytes(400_000)))

    made = either.extract(clip)

    assert made.recording.error is not None
    made.ended_as(made.recording.status, made.recording.error.code)


def test_a_channel_count_of_32_bits(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    audio = element("e1", element("9f", b"\xff\xff\xff\xff"))
    kind = element("83", b"\2") + element("86", b"A_PCM/INT/LIT") + element("d7", b"\1")
    clip.write_bytes(matroska(element("1654ae6b", element("ae", kind + audio))))

    made = worker.extract(clip)

    assert made.recording.error is not None
    made.ended_as(made.recording.status, made.recording.error.code)


@pytest.mark.parametrize("rate", [1000, 4000, 384_000])
def test_unusual_rates_are_sound(rate: int, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    clip.write_bytes(wav(rate, 1, random.Random(1).randbytes(2 * 3 * rate)))

    assert worker.extract(clip).audio.duration_s == pytest.approx(3, abs=0.01)


def mp4_with_tracks(count: int) -> bytes:
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", box(b"trak", b"") * count)


def matroska_with_tracks(count: int) -> bytes:
    return matroska(element("1654ae6b", b"".join(map(track, range(1, count + 1)))))


@pytest.mark.parametrize("count", [MAX_TRACKS + 1, 20_000])
@pytest.mark.parametrize("made_by", [mp4_with_tracks, matroska_with_tracks])
def test_more_tracks_than_any_recording(
    made_by: Callable[[int], bytes], count: int, either: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "a.mkv"
    clip.write_bytes(made_by(count))

    with at_most(30):
        either.extract(clip).ended_as(Status.FAILED, Code.NOT_A_RECORDING)


def test_many_tracks_are_still_a_recording(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    maps = ["-map", "0:a"] * 100
    clips.run(*clips.speech(2, 48000, 2), *maps, "-c:a", "pcm_s16le", clip)

    assert worker.extract(clip).audio.duration_s == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(
    ("line", "sources"),
    [(b"a" * 60_000_000, RangeSources), (b"a\n" * 30_000_000, LocalSources)],
    ids=["one, served", "many, local"],
)
def test_metadata_of_megabytes(
    line: bytes, sources: type[LocalSources], worker: Rig, tmp_path: Path
) -> None:
    """FFmpeg prints it, and the log keeps a little of it."""
    plain, clip = tmp_path / "plain.mkv", tmp_path / "a.mkv"
    clips.run(*clips.speech(2, 48000, 2), "-c:a", "pcm_s16le", plain)
    before, tracks, after = plain.read_bytes().partition(bytes.fromhex("1654ae6b"))
    tag = element("67c8", element("45a3", b"TITLE") + element("4487", line))
    clip.write_bytes(before + element("1254c367", element("7373", tag)) + tracks + after)

    worker.sources = sources

    with at_most(100):  # with the read-ahead of a served file
        worker.extract(clip)


def nested_boxes(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"moov", body)
    return box(b"ftyp", b"isom\0\0\0\0isom") + body


def nested_tags(depth: int) -> bytes:
    body = element("45a3", b"a")
    for _ in range(depth):
        body = element("67c8", body)
    return matroska(element("1254c367", element("7373", body)))


def segments_without_size(depth: int) -> bytes:
    return EBML + (bytes.fromhex("18538067") + UNKNOWN_SIZE) * depth


def clusters_without_size(depth: int) -> bytes:
    return EBML + bytes.fromhex("18538067") + UNKNOWN_SIZE + (
        bytes.fromhex("1f43b675") + UNKNOWN_SIZE
    ) * depth  # fmt: skip


@pytest.mark.parametrize(
    "made_by", [nested_boxes, nested_tags, segments_without_size, clusters_without_size]
)
def test_nested_ten_thousand_deep(
    made_by: Callable[[int], bytes], either: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "a.mkv"
    clip.write_bytes(made_by(10_000))

    with at_most(30):
        made = either.extract(clip)

    assert made.recording.error is not None
    made.ended_as(made.recording.status, made.recording.error.code)


def test_a_million_chunks(either: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    many = (b"junk" + struct.pack("<I", 0)) * 1_000_000
    clip.write_bytes(wav(48000, 1, random.Random(1).randbytes(96_000 * 2), before=many))

    with at_most(60):
        assert either.extract(clip).audio.duration_s == pytest.approx(2, abs=0.01)


def test_other_work_goes_on(worker: Rig, shelf: Callable[[str], Path], tmp_path: Path) -> None:
    hostile = tmp_path / "a.wav"
    hostile.write_bytes(wav(1, 1, bytes(200_000)))

    worker.extract(hostile).ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)
    assert worker.extract(shelf("last.mp4")).audio.duration_s > 1


def flac(rate: int, frames: int, first: int = 0) -> bytes:
    """Return frames of 4096 equal samples (RFC 9639, section 9), numbered from ``first``."""

    def crc(data: bytes, bits: int, polynomial: int) -> bytes:
        value = 0
        for byte in data:
            value ^= byte << bits - 8
            for _ in range(8):
                value = value << 1 ^ (polynomial if value >> bits - 1 & 1 else 0)
            value &= (1 << bits) - 1
        return value.to_bytes(bits // 8, "big")

    data = b""
    for number in range(first, first + frames):
        head = b"\xff\xf8\xcd\x08" + bytes([number]) + struct.pack(">H", rate)
        frame = head + crc(head, 8, 0x07) + b"\0" + struct.pack(">h", 1000)
        data += frame + crc(frame, 16, 0x8005)
    return data


@pytest.mark.parametrize("preset", ["mp3", "whisper", "opus", "copy"])
def test_a_rate_that_falls_to_1_hz(preset: str, tmp_path: Path) -> None:
    clip = tmp_path / "a.flac"
    rate, shape = 48_000, 0 << 9 | 15 << 4  # one channel of 16 bits, fewer than 2**32 samples
    info = struct.pack(">HH6sIIQQ", 4096, 4096, bytes(6), rate << 12 | shape, 0, 0, 0)
    head = b"fLaC\x80\0\0\x22" + info
    clip.write_bytes(head + flac(rate, 60) + flac(1, 5, first=60))

    # A program of its own: getrusage(2) gives the peak of all children that a process ever had.
    program = (
        "import resource, sys; from cli.main import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "extract", "--json", "--preset", preset, str(clip)],
        env=os.environ | {"STORAGE_URL": str(tmp_path / "audio")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    printed, peak_kb = ran.stdout.rstrip("\n").rsplit("\n", 1)

    # One second of audio at 1 Hz would be 48,000 samples; a frame of them, 790 MB.
    assert int(peak_kb) < 600_000
    (document,) = json.loads(printed)
    assert document["status"] == "DONE" or document["error"]["code"] == Code.CORRUPT
