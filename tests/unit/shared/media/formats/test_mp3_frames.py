from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.media.formats import mp3_frames
from shared.media.formats.mp3_rates import RATES_BY_VERSION
from tests.media import clips

KINDS = [
    (version, bitrate, rate, mode)
    for version, rates in RATES_BY_VERSION.items()
    for rate in range(len(rates))
    for bitrate in range(1, 15)
    for mode in range(4)
]


def header(kind: tuple[int, int, int, int], padding: bool = False) -> bytes:
    version, bitrate, rate, mode = kind
    return bytes([0xFF, 0xE3 | version << 3, bitrate << 4 | rate << 2 | padding << 1, mode << 6])


kinds = st.sampled_from(KINDS)


@dataclass(frozen=True)
class Stream:
    """A chain of frames of one kind, each padded or not, filled with anything.

    Hypothesis prints this rather than the bytes: of more than 30 kB it prints a warning, which
    pytest makes an error, in place of the failure.
    """

    kind: tuple[int, int, int, int]
    paddings: list[bool]
    fill: bytes

    @property
    def data(self) -> bytes:
        heads = [header(self.kind, padding) for padding in self.paddings]
        sizes = [mp3_frames.Header.parse(head).size for head in heads]
        frames = zip(heads, sizes, strict=True)
        return b"".join(head + (self.fill * size)[: size - 4] for head, size in frames)


streams = st.builds(
    Stream,
    kind=kinds,
    paddings=st.lists(st.booleans(), min_size=1, max_size=12),
    fill=st.binary(min_size=1, max_size=8),
)


@given(kinds, st.booleans())
def test_a_header_is_parsed_as_the_standard_defines(
    kind: tuple[int, int, int, int], padding: bool
) -> None:
    one = mp3_frames.Header.parse(header(kind, padding))

    assert one.sample_rate in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    assert one.samples == mp3_frames.samples_per_frame(one.sample_rate)
    # A frame is the bits of its duration, in whole bytes.
    exact = one.samples * one.bitrate * 1000 / 8 / one.sample_rate
    assert 0 <= exact - (one.size - padding) < 1


@given(st.binary(max_size=8))
def test_anything_else_is_refused(data: bytes) -> None:
    try:
        one = mp3_frames.Header.parse(data)
    except mp3_frames.FrameError:
        return
    assert data[0] == 0xFF
    assert one.size > 4


@given(streams)
def test_frames_are_found_where_they_are(stream: Stream) -> None:
    data, count = stream.data, len(stream.paddings)

    starts = mp3_frames.frame_starts(data)

    assert len(starts) == count + 1
    assert (starts[0], starts[-1]) == (0, len(data))
    assert list(mp3_frames.frame_starts(b"x" * 7 + data, 7)) == [start + 7 for start in starts]


@given(streams, st.integers(min_value=1, max_value=5000))
def test_the_count_does_not_depend_on_the_blocks(stream: Stream, size: int) -> None:
    data, count = stream.data, len(stream.paddings)

    first, counted = mp3_frames.count_frames(blocks(data, size))

    assert counted == count
    assert first == mp3_frames.Header.parse(data)


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(streams, st.integers(min_value=1, max_value=5000), st.data())
def test_a_cut_frame_is_missed(stream: Stream, size: int, choice: st.DataObject) -> None:
    data = stream.data
    last = mp3_frames.frame_starts(data)[-2]
    cut = choice.draw(st.integers(min_value=last + 1, max_value=len(data) - 1))

    with pytest.raises(mp3_frames.FrameError):
        mp3_frames.frame_starts(data[:cut])
    with pytest.raises(mp3_frames.FrameError):
        mp3_frames.count_frames(blocks(data[:cut], size))


@given(streams, st.integers(min_value=1, max_value=5000), st.data())
def test_a_damaged_header_is_missed(stream: Stream, size: int, choice: st.DataObject) -> None:
    data = stream.data
    at = choice.draw(st.sampled_from(mp3_frames.frame_starts(data)[:-1]))
    damaged = data[:at] + b"\0" + data[at + 1 :]

    with pytest.raises(mp3_frames.FrameError):
        mp3_frames.frame_starts(damaged)
    with pytest.raises(mp3_frames.FrameError):
        mp3_frames.count_frames(blocks(damaged, size))


def test_no_frames() -> None:
    assert list(mp3_frames.frame_starts(b"")) == [0]
    with pytest.raises(mp3_frames.FrameError):
        mp3_frames.count_frames(iter([]))


@given(kinds, st.integers(0, 1 << 20), st.integers(0, 1 << 32))
def test_an_info_frame_is_a_frame_of_the_size_that_was_kept_for_it(
    kind: tuple[int, int, int, int], frames: int, samples: int
) -> None:
    first = mp3_frames.Header.parse(header(kind))
    try:
        size = mp3_frames.info_size(first)
    except mp3_frames.FrameError:
        return  # a kind whose largest frame is too small for the tag

    info = mp3_frames.info_frame(first, frames, frames * first.size, samples)

    assert len(info) == size == mp3_frames.info_bytes(info)
    assert mp3_frames.Header.parse(info).sample_rate == first.sample_rate
    assert mp3_frames.info_bytes(header(kind) + bytes(first.size - 4)) == 0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_our_info_frame_has_the_effect_of_ffmpeg_s_own(
    rate: int, channels: int, tmp_path: Path
) -> None:
    sound = clips.speech(0.7, rate, channels)
    options = ["-c:a", "libmp3lame", "-b:a", "32k", "-reservoir", "0", "-id3v2_version", "0"]
    theirs = clips.run(*sound, *options, "-f", "mp3", "-write_xing", "0", "-")
    samples = round(0.7 * rate)

    frames = len(mp3_frames.frame_starts(theirs)) - 1
    ours = (
        mp3_frames.info_frame(mp3_frames.Header.parse(theirs), frames, len(theirs), samples)
        + theirs
    )

    clip = tmp_path / "clip.mp3"  # of a pipe, FFmpeg does not trim the end
    clip.write_bytes(ours)
    assert len(clips.run("-i", clip, "-f", "s16le", "-")) == samples * channels * 2
