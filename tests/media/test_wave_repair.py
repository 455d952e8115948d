"""Sound with a wrong length in its header is read to its real end, where FFmpeg misreads it."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalFile
from shared.core.ports import ByteSource
from shared.media import encode, presets, probe
from shared.media.encode import EncodeContext
from shared.media.formats.wave_repair import RepairedSource, find_patches
from shared.media.source import inputs
from tests.media.clips import run, speech
from tests.media.containers import CountingSource

pytestmark = pytest.mark.slow(30)

RATE = 16000
SECONDS = 4

_WAVE_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF_GUID = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
_FMT = b"fmt " + struct.pack("<I", 16) + _FORMAT


@pytest.fixture(scope="module")
def sound() -> bytes:
    return run(*speech(SECONDS, RATE, 1), "-f", "s16le", "-")


def riff(sound: bytes, whole: int, size: int, after: bytes = b"") -> bytes:
    head = b"RIFF" + struct.pack("<I", whole) + b"WAVE" + _FMT
    return head + b"data" + struct.pack("<I", size) + sound + after


def rf64(sound: bytes, whole: int, size: int, short: int = 0xFFFFFFFF) -> bytes:
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, whole, size, 0, 0)
    head = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + ds64 + _FMT
    return head + b"data" + struct.pack("<I", short) + sound


def w64(sound: bytes, whole: int, size: int) -> bytes:
    fmt = b"fmt " + _WAVE_GUID + struct.pack("<Q", 40) + _FORMAT
    data = b"data" + _WAVE_GUID + struct.pack("<Q", size) + sound
    return _RIFF_GUID + struct.pack("<Q", whole) + b"wave" + _WAVE_GUID + fmt + data


N = 2 * RATE * SECONDS
MOST = (1 << 64) - 1
INFO = b"LIST" + struct.pack("<I", 18) + b"INFOISFT" + struct.pack("<I", 6) + b"maker\0"
THIRD = N // 3 // 2 * 2
TEXT = b"<meta>of the recording</meta>\n" * 9999

WRONG = {
    "0": lambda s: riff(s, 0, 0),
    "the maximum": lambda s: riff(s, 0xFFFFFFFF, 0xFFFFFFFF),
    "the maximum, signed": lambda s: riff(s, 0x7FFFFFFF, 0x7FFFFFFF - 36),
    "an earlier length": lambda s: riff(s, 36 + THIRD, THIRD),
    "RF64, 0": lambda s: rf64(s, 0, 0),
    "RF64, both 0": lambda s: rf64(s, 0, 0, 0),
    "RF64, the maximum": lambda s: rf64(s, MOST, MOST),
    "RF64, an earlier length": lambda s: rf64(s, 80 + THIRD, THIRD),
    "W64, 0": lambda s: w64(s, 0, 0),
    "W64, no sound yet": lambda s: w64(s, 104, 24),
    "W64, the maximum": lambda s: w64(s, MOST, MOST),
    "W64, the maximum, signed": lambda s: w64(s, MOST >> 1, MOST >> 1),
    "W64, an earlier length": lambda s: w64(s, 104 + THIRD, 24 + THIRD),
}

RIGHT = {
    "RIFF": lambda s: riff(s, 36 + N, N),
    "RIFF with metadata behind": lambda s: riff(s, 36 + N + len(INFO), N, INFO),
    "RIFF with a tag behind": lambda s: riff(s, 36 + N, N, b"TAG" + bytes(125)),
    "RIFF with much behind": lambda s: riff(
        s, 36 + N, N, b"junk" + struct.pack("<I", 200_000) + os.urandom(200_000)
    ),
    "RIFF with noise behind": lambda s: riff(s, 36 + N, N, random.Random(1).randbytes(N)),
    "RIFF with zeros behind": lambda s: riff(s, 36 + N, N, bytes(N)),
    "RIFF with text behind": lambda s: riff(
        s, 36 + N, N, b"<meta>of the recording</meta>\n" * 9999
    ),
    "RIFF with an MP3 behind": lambda s: riff(s, 36 + N, N, b"ID3" + mp3(s)),
    "RF64": lambda s: rf64(s, 80 + N, N),
    "RF64 with noise behind": lambda s: rf64(s, 80 + N, N) + random.Random(2).randbytes(N),
    "W64": lambda s: w64(s, 104 + N, 24 + N),
    "W64 with noise behind": lambda s: w64(s, 104 + N, 24 + N) + random.Random(3).randbytes(N),
}


def mp3(sound: bytes) -> bytes:
    options = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "-"]
    return run(*options, "-b:a", "128k", "-f", "mp3", "-", stdin=sound)


#: Sample formats of a WAV: FFmpeg's codec, and the sound to make, of two channels.
FORMATS = {
    "pcm_u8": speech(SECONDS, RATE, 2),
    "pcm_s16le": speech(SECONDS, RATE, 2),
    "pcm_s24le": speech(SECONDS, RATE, 2),
    "pcm_s32le": speech(SECONDS, RATE, 2),
    "pcm_f32le": speech(SECONDS, RATE, 2),
    "pcm_f64le": speech(SECONDS, RATE, 2),
    "pcm_alaw": speech(SECONDS, RATE, 2),
    "pcm_mulaw": speech(SECONDS, RATE, 2),
    # White noise.
    "pcm_s16le:noise": ["-f", "lavfi", "-i", f"anoisesrc=d={SECONDS}:r={RATE}:a=0.5:seed=5"],
}


@pytest.fixture(params=["local", "by range"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    def open_(content: bytes) -> ByteSource:
        path = tmp_path / "x.wav"
        path.write_bytes(content)
        return LocalFile(path) if request.param == "local" else CountingSource(path)

    return open_  # type: ignore[return-value]


def samples(source: ByteSource, directory: Path) -> int:
    """Return how many samples the engine makes of a source, to plain PCM."""
    wave = plain(source, directory).read_bytes()
    return (len(wave) - wave.find(b"data") - 8) // 2


def plain(source: ByteSource, directory: Path) -> Path:
    """Return the plain PCM that the engine makes of a source."""
    work = EncodeContext(directory=directory)
    recipe = presets.for_compression("pcm", RATE, 1, 0)
    with inputs.reachable(source) as input_:
        with work.job(None) as job:
            found = probe.probe(input_, job)
        return encode.encode(input_, found, recipe, work).path


@pytest.mark.parametrize("kind", WRONG)
def test_sound_is_read_to_its_end(opened: object, tmp_path: Path, sound: bytes, kind: str) -> None:
    source = opened(WRONG[kind](sound))  # type: ignore[operator]
    assert samples(source, tmp_path) == len(sound) // 2
    source.close()


@pytest.mark.parametrize("kind", ["right", "an earlier length", "Wave64"])
@pytest.mark.parametrize("valid", [24, 20, 32])
def test_integers_that_do_not_fill_their_words_are_not_floats(
    opened: object, tmp_path: Path, sound: bytes, valid: int, kind: str
) -> None:
    words = b"".join(b"\0\0" + sound[at : at + 2] for at in range(0, len(sound), 2))
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 4 * RATE, 4, 32, 22, valid, 4)
    form += bytes.fromhex("0100000000001000800000aa00389b71")
    size = len(words) // 3 if kind == "an earlier length" else len(words)
    content = b"RIFF" + struct.pack("<I", 60 + size) + b"WAVEfmt " + struct.pack("<I", 40) + form
    content += b"data" + struct.pack("<I", size) + words
    if kind == "Wave64":
        fmt = b"fmt " + _WAVE_GUID + struct.pack("<Q", 64) + form
        body = b"wave" + _WAVE_GUID + fmt + b"data" + _WAVE_GUID
        whole = 24 + len(body) + 8 + len(words)
        content = (
            _RIFF_GUID + struct.pack("<Q", whole) + body + struct.pack("<Q", 24 + size) + words
        )
    source = opened(content)  # type: ignore[operator]

    made = plain(source, tmp_path).read_bytes()

    source.close()
    assert made.endswith(sound)


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_header_is_left_alone(
    opened: object, tmp_path: Path, sound: bytes, kind: str
) -> None:
    source = opened(RIGHT[kind](sound))  # type: ignore[operator]
    assert find_patches(source) == ()
    assert samples(source, tmp_path) == len(sound) // 2
    source.close()


@pytest.mark.parametrize("noise_behind", [False, True])
@pytest.mark.parametrize("codec", FORMATS)
def test_an_earlier_length_is_distinguished_from_bytes_behind_the_sound(
    tmp_path: Path, codec: str, noise_behind: bool
) -> None:
    path = tmp_path / "x.wav"
    run(*FORMATS[codec], "-c:a", codec.partition(":")[0], path)
    whole = bytearray(path.read_bytes())
    at = whole.find(b"data") + 4
    size = int.from_bytes(whole[at : at + 4], "little")
    kept = size // 3 // 48 * 48  # whole samples of every format
    whole[at : at + 4] = kept.to_bytes(4, "little")
    if noise_behind:
        whole[at + 4 + kept :] = random.Random(4).randbytes(size)
    path.write_bytes(whole)
    source = LocalFile(path)

    assert bool(find_patches(source)) is not noise_behind
    source.close()


@pytest.mark.parametrize("kind", ["RIFF", "RF64", "W64"])
def test_a_file_that_was_cut_is_not_repaired(opened: object, sound: bytes, kind: str) -> None:
    source = opened(RIGHT[kind](sound)[: N // 2])  # type: ignore[operator]
    assert find_patches(source) == ()
    source.close()


def test_every_range_sees_the_same_bytes(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(WRONG["RF64, 0"](sound))
    source = RepairedSource(CountingSource(path))
    whole = source.read(0, 1 << 20)
    assert whole != path.read_bytes()
    for start in range(120):
        for length in (1, 3, 8, 50):
            assert source.read(start, length) == whole[start : start + length]
    source.close()


def test_four_gigabytes_begin_again_at_zero(tmp_path: Path) -> None:
    """The header of a RIFF that went past 4 GiB: the length is the remainder."""
    path = tmp_path / "x.wav"
    size = (4 << 30) + 100_000
    with path.open("wb") as file:
        file.write(riff(b"\x01\x02" * 100_000, 36 + 100_000, 100_000))
        file.truncate(44 + size)
    source = RepairedSource(CountingSource(path))
    assert source.read(0, 1000)[40:44] == b"\xff\xff\xff\xff"
    source.close()


def over_four_gigabytes(path: Path, kind: str) -> int:
    """Write a sparse file of silence; returns how many samples it has at ``RATE``."""
    # Eight channels of 64 bits last six minutes; smaller samples would take longer to decode.
    rate, block = 192_000, 64
    size = (4 << 30) + 20 * rate * block
    fmt = _FMT[:8] + struct.pack("<HHIIHH", 3, 8, rate, rate * block, block, 64)
    data = b"data" + struct.pack("<I", size & 0xFFFFFFFF if "zero" in kind else 0xFFFFFFFF)
    declared = size if "right" in kind else 0
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, declared + 80, declared, 0, 0)
    start = b"RIFF" if "zero" in kind else b"RF64"
    head = start + b"\xff" * 4 + b"WAVE" + (b"" if "zero" in kind else ds64) + fmt + data
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return size // block * RATE // rate


@pytest.mark.parametrize("kind", ["begun again at zero", "RF64, never finished"])
def test_the_end_of_more_than_four_gigabytes_is_read(tmp_path: Path, kind: str) -> None:
    """Only the last seconds: to decode all of it takes twenty of processor time."""
    path, end = tmp_path / "x.wav", tmp_path / "end.pcm"
    start_s = over_four_gigabytes(path, kind) / RATE - 5
    source = LocalFile(path)

    with inputs.reachable(source) as input_, EncodeContext(directory=tmp_path).job(None) as job:
        wanted = ["-map", "0:a", "-ac", "1", "-ar", str(RATE), "-f", "s16le", f"file:{end}"]
        input_.start(job, ["-ss", f"{start_s:.6f}"], wanted).wait()

    source.close()
    path.unlink()
    assert end.stat().st_size // 2 == pytest.approx(5 * RATE, abs=RATE // 10)


def test_a_right_header_of_more_than_four_gigabytes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    over_four_gigabytes(path, "RF64, right")
    source = LocalFile(path)
    assert find_patches(source) == ()
    source.close()


@pytest.mark.parametrize("length", [0, 1, 11, 12, 20, 40, 43, 44, 60])
@pytest.mark.parametrize("kind", ["0", "RF64, 0", "W64, 0"])
def test_a_header_alone_is_harmless(opened: object, sound: bytes, kind: str, length: int) -> None:
    source = opened(WRONG[kind](sound)[:length])  # type: ignore[operator]
    assert RepairedSource(source).read(0, 100) is not None
    source.close()


def test_nothing_more_is_read_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(os.urandom(100_000))
    source = CountingSource(path)
    RepairedSource(source).read(0, 50_000)
    assert source.reads == [(0, 50_000)]
    source.close()
