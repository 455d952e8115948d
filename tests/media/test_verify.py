"""Each check of a file that was made, against a file that is damaged in just that way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code, PermanentError
from shared.media import encode, presets, probe, verify
from shared.media.encode import EncodeContext, Encoded
from shared.media.formats import mp3_frames
from shared.media.source import inputs
from tests.media import clips

Shelf = Callable[[str], Path]
Long = Callable[[str], Encoded]


def make(clip: Path, preset: str, directory: Path, recipe: presets.Recipe | None = None) -> Encoded:
    directory.mkdir(exist_ok=True)
    sources = LocalSources()
    source = sources.open(sources.describe(clip))
    work = EncodeContext(directory=directory)
    with inputs.reachable(source) as input_:
        with work.job(None) as job:
            found = probe.probe(input_, job)
        recipe = recipe or presets.for_preset(preset, found.track, 64_000)
        made = encode.encode(input_, found, recipe, work)
    source.close()
    return made


def check(made: Encoded) -> verify.Verified:
    with EncodeContext(directory=made.path.parent).job(made.duration_s) as job:
        return verify.verify(made, job)


def refused(made: Encoded) -> str:
    with pytest.raises(PermanentError) as caught:
        check(made)
    assert caught.value.code in (Code.VERIFY_FAILED, Code.CORRUPT)
    return caught.value.message


@pytest.fixture(scope="module")
def made_once(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Long:
    """Return what a preset makes of 20 s; ``wave`` is a WAV with an MP3 payload."""

    @cache
    def get(preset: str) -> Encoded:
        recipe = presets.for_compression("wav", 16000, 1, 32_000) if preset == "wave" else None
        return make(shelf("long.wav"), preset, tmp_path_factory.mktemp(preset), recipe)

    return get


@pytest.fixture
def long(made_once: Long, tmp_path: Path) -> Long:
    """Return a copy of what a preset makes of 20 s, to be damaged."""

    def get(preset: str) -> Encoded:
        made = made_once(preset)
        path = tmp_path / made.path.name
        return replace(made, path=Path(shutil.copyfile(made.path, path)))

    return get


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper", "copy", "wave"])
def test_whole_files_pass(preset: str, long: Long) -> None:
    made = long(preset)

    found = check(made)

    assert found.bytes == made.path.stat().st_size
    assert found.duration_s == pytest.approx(20, abs=0.01)


def test_silence_passes(tmp_path: Path) -> None:
    clip = tmp_path / "silence.wav"
    clips.run("-f", "lavfi", "-i", "anullsrc=r=48000:d=3", clip)

    assert check(make(clip, "mp3", tmp_path / "out")).duration_s == 3


@pytest.mark.parametrize("output", ["wav", "mp3", "opus", "flac", "pcm"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 2), (44100, 1)])
def test_the_nightly_formats(
    output: str, rate: int, channels: int, shelf: Shelf, tmp_path: Path
) -> None:
    recipe = presets.for_compression(output, rate, channels, 32_000)

    made = make(shelf("a.wav"), "", tmp_path, recipe)

    assert check(made).duration_s == pytest.approx(4, abs=0.01)
    assert clips.decoded_samples(made.path) == pytest.approx(
        4 * (48000 if output == "opus" else rate), abs=1 if output != "wav" else 2400
    )


def test_a_wave_of_mp3_that_lost_its_end(long: Long) -> None:
    made = long("wave")
    with made.path.open("r+b") as file:
        file.truncate(made.path.stat().st_size - 144)  # one frame

    assert "as long as its header declares" in refused(made)


def test_a_wave_of_mp3_with_a_frame_too_few(long: Long) -> None:
    made = replace(long("wave"), frames=1 + long("wave").frames)

    assert "frames" in refused(made)


def test_a_wave_of_mp3_with_a_broken_frame(long: Long) -> None:
    made = long("wave")
    with made.path.open("r+b") as file:
        file.seek(106 + 144 * 50)
        file.write(bytes(4))

    assert "no frame starts" in refused(made)


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper", "copy"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_cut(share: float, preset: str, long: Long) -> None:
    made = long(preset)
    data = made.path.read_bytes()
    made.path.write_bytes(data[: int(len(data) * share)])

    if share or preset == "mp3":
        assert refused(made)
    else:
        with pytest.raises(Exception, match=r"."):
            check(made)


def test_one_frame_missing(long: Long) -> None:
    made = long("mp3")
    data = made.path.read_bytes()
    starts = mp3_frames.frame_starts(data, mp3_frames.info_bytes(data[:64]))
    made.path.write_bytes(data[: starts[300]] + data[starts[301] :])

    assert "frames" in refused(made)


def test_no_info_frame(long: Long) -> None:
    made = long("mp3")
    data = made.path.read_bytes()
    made.path.write_bytes(data[mp3_frames.info_bytes(data[:64]) :])

    assert "length" in refused(made)


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_zeros(share: float, preset: str, long: Long) -> None:
    made = long(preset)
    data = bytearray(made.path.read_bytes())
    start = int(len(data) * share)
    data[start : start + 4000] = bytes(len(data[start : start + 4000]))
    made.path.write_bytes(data)

    assert refused(made)


def test_another_rate(long: Long) -> None:
    made = long("mp3")

    assert "Hz" in refused(replace(made, recipe=replace(made.recipe, sample_rate=44100)))


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper", "copy"])
def test_another_length_than_the_source(preset: str, long: Long) -> None:
    made = long(preset)

    longer = replace(made, duration_s=20.6, gapless_s=None)

    assert "where the source lasts 20.60 s" in refused(longer)
    assert check(replace(made, duration_s=20.4))


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper"])
def test_other_channels_than_the_recipe_s(preset: str, long: Long) -> None:
    made = long(preset)
    other = 3 - made.recipe.channels

    assert "channels" in refused(replace(made, recipe=replace(made.recipe, channels=other)))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_of_other_channels_than_the_recipe_s(
    channels: int, shelf: Shelf, tmp_path: Path
) -> None:
    made = make(shelf("a.wav"), "", tmp_path, presets.for_compression("pcm", 16000, channels, 0))

    assert "channels" in refused(replace(made, recipe=replace(made.recipe, channels=3 - channels)))


@pytest.mark.parametrize("dropped", ["eq(n,40)", "eq(n,0)", "gte(n,187)"])
@pytest.mark.parametrize("name", ["mono48.m4a", "a.opus", "a.mp3"])
def test_a_copy_that_lost_a_packet(name: str, dropped: str, shelf: Shelf, tmp_path: Path) -> None:
    made = make(shelf(name), "copy", tmp_path)
    count = made.frames
    lost = dropped.replace("187", str(count - 1)).replace(",", r"\,")
    other = made.path.with_name(f"other.{made.recipe.extension}")
    bare = ["-write_xing", "0"] if name == "a.mp3" else []
    clips.run("-i", made.path, "-c", "copy", "-bsf:a", f"noise=drop={lost}", *bare, other)

    assert f"it has {count - 1} packets where {count} were copied" in refused(
        replace(made, path=other)
    )
