"""Declared lengths of FFmpeg's own files match the decoded ones, and cut files are detected."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.media.formats.declared import Declared, declared
from tests.media.containers import CONTAINERS, CountingSource, ffmpeg, make_clip, make_container

#: Containers that declare how long their audio is.
COUNTED = (
    *("last.mp4", "first.mp4", "a.mov", "a.m4a", "a.3gp"),
    *("a.wav", "a.w64", "rf64.wav", "a.flac"),
)
NOTED = ("a.mkv", "a.webm", "a.avi", "a.mp3")
SILENT = tuple(name for name in CONTAINERS if name not in (*COUNTED, *NOTED))

CUTS_KNOWN = tuple(name for name in (*COUNTED, *NOTED) if name != "a.flac")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def clip(clips: Path, name: str) -> Path:
    path = clips / name
    return path if path.exists() else make_container(clips, name)


def ask(path: Path, stream_index: int | None = None) -> Declared:
    source = CountingSource(path)
    try:
        return declared(source, stream_index)
    finally:
        source.close()


def decoded_s(path: Path, stream: str = "a:0") -> float:
    pcm = ffmpeg("-i", path, "-map", f"0:{stream}", "-ac", "1", "-ar", "8000", "-f", "s16le", "-")
    return len(pcm) / 16000


def cut(path: Path, to: Path, share: float) -> Path:
    content = path.read_bytes()
    to.write_bytes(content[: int(len(content) * share)])
    return to


@pytest.mark.parametrize("name", COUNTED)
def test_a_count_is_the_decoded_length(clips: Path, name: str) -> None:
    path = clip(clips, name)
    says = ask(path)
    assert says.counted
    assert not says.ends_early
    assert says.expected_bytes is None
    assert says.audio_duration_s == pytest.approx(decoded_s(path), abs=0.03)


@pytest.mark.parametrize("name", NOTED)
def test_a_note_is_the_decoded_length(clips: Path, name: str) -> None:
    path = clip(clips, name)
    says = ask(path)
    assert not says.counted
    assert not says.ends_early
    assert says.audio_duration_s == pytest.approx(decoded_s(path), abs=0.1)


@pytest.mark.parametrize("name", SILENT)
def test_what_declares_nothing(clips: Path, name: str) -> None:
    path = clip(clips, name)
    says = ask(path)
    assert (says.ends_early, says.audio_duration_s) == (False, None)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", CUTS_KNOWN)
def test_a_cut_file_is_known_as_cut(clips: Path, tmp_path: Path, name: str, share: float) -> None:
    path = clip(clips, name)
    says = ask(cut(path, tmp_path / name, share))
    assert says.ends_early
    # Of an MP4 with the index last nothing else is left.
    if name in {"last.mp4", "a.mov", "a.m4a", "a.3gp"}:
        assert says.audio_duration_s is None
    else:
        assert says.audio_duration_s == ask(path).audio_duration_s
        assert says.expected_bytes == pytest.approx(path.stat().st_size, rel=0.02)


@pytest.mark.parametrize("name", SILENT)
def test_a_cut_file_that_declares_nothing_is_not_known_as_cut(
    clips: Path, tmp_path: Path, name: str
) -> None:
    assert not ask(cut(clip(clips, name), tmp_path / name, 0.6)).ends_early


def test_flac_counts_though_it_is_cut(clips: Path, tmp_path: Path) -> None:
    says = ask(cut(clip(clips, "a.flac"), tmp_path / "a.flac", 0.5))
    assert says.counted
    assert says.audio_duration_s == pytest.approx(6, abs=0.01)


def test_an_mp4_that_has_lost_just_its_index(clips: Path, tmp_path: Path) -> None:
    content = clip(clips, "last.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    assert ask(path).ends_early


def test_an_mp4_whose_data_has_an_open_end(clips: Path, tmp_path: Path) -> None:
    content = bytearray(clip(clips, "last.mp4").read_bytes())
    start = content.index(b"mdat") - 4
    content[start : start + 4] = bytes(4)
    path = tmp_path / "open.mp4"
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    assert ask(path).ends_early


def test_the_track_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    inputs = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=5:d=4", "-f", "lavfi", "-i", "sine=d=4")
    more = ("-f", "lavfi", "-i", "sine=300:d=2", "-map", "1", "-map", "0", "-map", "2")
    for name in ("two.mp4", "two.mkv", "two.avi"):
        path = tmp_path / name
        ffmpeg(*inputs, *more, "-c:v", "mpeg4", "-c:a", "libmp3lame", path)
        for index, length in ((0, 4), (2, 2), (None, 4)):
            assert ask(path, index).audio_duration_s == pytest.approx(length, abs=0.15), name
        for index in (1, 3, 99, -1):
            assert ask(path, index).audio_duration_s is None, name


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "webm"])
def test_a_late_start_is_not_counted(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"late.{extension}"
    video = "libvpx" if extension == "webm" else "mpeg4"
    audio = "libopus" if extension in {"webm", "mkv"} else "aac"
    inputs = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=5:d=12", "-itsoffset", "7.5")
    sine = ("-f", "lavfi", "-i", "sine=r=48000:d=4", "-map", "0", "-map", "1")
    ffmpeg(*inputs, *sine, "-c:v", video, "-c:a", audio, path)
    says = ask(path)
    assert says.audio_duration_s == pytest.approx(decoded_s(path), abs=0.05)
    assert says.audio_duration_s == pytest.approx(4, abs=0.05)


def test_gaps_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "gaps.mp4"
    # Two and three seconds of packets are dropped, at 47 a second; their timestamps stay.
    drop = "noise=drop='between(n,94,187)+between(n,281,421)'"
    ffmpeg("-f", "lavfi", "-i", "sine=d=12:r=48000", "-c:a", "aac", "-bsf:a", drop, path)
    says = ask(path)
    assert decoded_s(path) == pytest.approx(7, abs=0.2)
    assert says.audio_duration_s == pytest.approx(decoded_s(path), abs=0.1)


def test_timestamps_in_milliseconds(tmp_path: Path) -> None:
    first, path = tmp_path / "a.mkv", tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=12:r=44100", "-c:a", "aac", first)
    ffmpeg("-i", first, "-c", "copy", path)
    assert ask(path).audio_duration_s == pytest.approx(decoded_s(path), abs=0.1)


def test_an_edit_list_that_leaves_out_the_start_and_the_end(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    make_clip(whole, "-c:v", "libx264", "-preset", "ultrafast", "-g", "100", "-c:a", "aac")
    # A copy from between two key frames begins at the one before and hides it by an edit.
    ffmpeg("-ss", "3", "-i", whole, "-t", "2", "-c", "copy", path)
    says = ask(path)
    assert says.audio_duration_s == pytest.approx(decoded_s(path), abs=0.1)


def test_a_tenth_of_a_second(tmp_path: Path) -> None:
    for extension in ("mp4", "mkv", "wav", "flac", "mp3"):
        path = tmp_path / f"short.{extension}"
        ffmpeg("-f", "lavfi", "-i", "sine=d=0.1:r=48000", path)
        assert ask(path).audio_duration_s == pytest.approx(decoded_s(path), abs=0.03)


def test_no_audio(tmp_path: Path) -> None:
    for extension in ("mp4", "mkv", "avi"):
        path = tmp_path / f"picture.{extension}"
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:r=5:d=1", "-c:v", "mpeg4", path)
        assert ask(path).audio_duration_s is None


@pytest.mark.parametrize("bits", ["pcm_s24le", "pcm_u8", "pcm_f32le", "pcm_mulaw", "adpcm_ms"])
def test_wav_of_any_kind(tmp_path: Path, bits: str) -> None:
    path = tmp_path / "a.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=d=3:r=44100", "-c:a", bits, path)
    assert ask(path).audio_duration_s == pytest.approx(decoded_s(path), abs=0.05)


def test_wav_and_w64_whose_size_was_never_written(tmp_path: Path) -> None:
    for kind, options in (("wav", ()), ("wav", ("-rf64", "always")), ("w64", ()), ("flac", ())):
        path = tmp_path / f"a.{kind}"
        sine = ("-f", "lavfi", "-i", "sine=d=3")
        path.write_bytes(ffmpeg(*sine, *options, "-f", kind, "-"))
        says = ask(path)
        assert (says.ends_early, says.audio_duration_s) == (False, None), (kind, options)


def test_little_is_read_of_a_long_recording(tmp_path: Path) -> None:
    # Eight hours: the index has 1.3 million entries of sizes.
    short, path = tmp_path / "short.mp4", tmp_path / "long.mp4"
    picture = ("-f", "lavfi", "-i", "color=s=16x16:r=5:d=80")
    ffmpeg(*picture, "-f", "lavfi", "-i", "anullsrc=r=48000:d=80", "-c:v", "mpeg4", short)
    ffmpeg("-stream_loop", "359", "-i", short, "-c", "copy", path)
    source = CountingSource(path)
    says = declared(source)
    source.close()
    assert says.audio_duration_s == pytest.approx(28800, rel=0.001)
    assert source.bytes_read < 500_000
    assert source.size > 10_000_000
