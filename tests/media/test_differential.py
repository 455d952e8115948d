"""The engine and plain FFmpeg agree on every clip and on mutations of it.

Plain FFmpeg is ``ffmpeg -i IN -map 0:a:0 -vn out.wav`` with the same binary. By default one clip of
each container and codec meets every mutation, with the presets in turn. DIFFERENTIAL=all takes
every clip, mutation and preset, which takes many minutes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code, PermanentError
from shared.media import encode, presets, probe, verify
from shared.media.encode import EncodeContext, tolerance
from shared.media.ffmpeg.executable import executable
from shared.media.source import inputs
from tests.media import clips

Shelf = Callable[[str], Path]

CLOSE_S = 0.05
ALL = os.environ.get("DIFFERENTIAL") == "all"

#: One clip of each container and codec.
SOME = (
    *("first.mp4", "fragmented.mp4", "alac.m4a", "opus.mp4", "flac.mp4", "pcm.mov"),
    *("opus.webm", "vorbis.webm", "live.webm", "aac.mkv", "flac.mkv", "mp3.mkv", "ac3.mkv"),
    *("a.ts", "a.wav", "a.mp3", "a.opus", "a.ogg", "a.flac", "a.aac", "a.aiff", "a.avi", "a.flv"),
    "a.wma",
)


@dataclass(frozen=True)
class Outcome:
    """How a recording ends: its length in seconds, or an error."""

    seconds: float
    error: str = ""


def _remuxed(*options: str) -> Callable[[Path, Path], None]:
    """Return a mutation that copies the packets with these options."""
    return lambda clip, out: _ffmpeg("-i", clip, "-map", "0", "-c", "copy", *options, out)


def _joined(*options: str) -> Callable[[Path, Path], None]:
    """Return a mutation that appends the same audio, encoded again with these options."""

    def make(clip: Path, out: Path) -> None:
        second = out.with_name(f"second-{out.name}")
        _, _, how = clips.CLIPS[clip.name]
        sound = [option for option in how if option in ("-f", "webm", "-live", "1")]
        codec = how[how.index("-c:a") :][:2] if "-c:a" in how else ()
        _ffmpeg("-i", clip, "-vn", *codec, *options, *sound, second)
        out.write_bytes(clip.read_bytes() + second.read_bytes())

    return make


def _cut(start: float, end: float) -> Callable[[Path, Path], None]:
    """Return a mutation that keeps the bytes between two shares of the file."""

    def make(clip: Path, out: Path) -> None:
        data = clip.read_bytes()
        out.write_bytes(data[int(len(data) * start) : int(len(data) * end)])

    return make


MUTATIONS: dict[str, Callable[[Path, Path], None]] = {
    "as it is": _cut(0, 1),
    "rate changes": _joined("-ar", "32000"),
    "channels change": _joined("-ac", "1"),
    "joined": lambda clip, out: void(out.write_bytes(2 * clip.read_bytes())),
    "offset": _remuxed("-output_ts_offset", "40000"),
    "cut at the end": _cut(0, 0.6),
    "cut by packets": _remuxed("-ss", "1.3", "-t", "1.9"),
    "drift": _remuxed("-bsf:a", "setts=ts=TS*1.03"),
}
#: Mutations after which a copy may find no container for the whole.
CHANGING = ("rate changes", "channels change", "joined")


def void(_: object) -> None:
    """Drop a result."""


def _ffmpeg(*arguments: str | Path) -> None:
    command = [executable(), "-loglevel", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def plain(path: Path) -> Outcome:
    """Decode as a user would, and note what FFmpeg reports."""
    command = [executable(), "-loglevel", "error", "-nostdin", "-i", str(path)]
    command += ["-map", "0:a:0", "-vn", "-f", "wav", "-"]
    done = subprocess.run(command, check=False, capture_output=True)
    wav, errors = done.stdout, done.stderr.decode(errors="replace").strip()
    if done.returncode or not wav:
        return Outcome(0.0, errors or f"status {done.returncode}")
    rate, block = int.from_bytes(wav[24:28], "little"), int.from_bytes(wav[32:34], "little")
    return Outcome((len(wav) - wav.find(b"data") - 8) / block / rate, errors)


def engine(path: Path, preset: str, directory: Path) -> Outcome:
    """Extract and verify; of a copy, the length is what plain FFmpeg decodes from it."""
    directory.mkdir()
    sources, work = LocalSources(), EncodeContext(directory=directory, workers=2)
    try:
        with (
            closing(sources.open(sources.describe(path))) as source,
            inputs.reachable(source, path.name) as input_,
        ):
            with work.job(None) as job:
                found = probe.probe(input_, job)
            recipe = presets.for_preset(preset, found.track, 64_000)
            made = encode.encode(input_, found, recipe, work)
        with work.job(made.duration_s) as job:
            length = verify.verify(made, job).duration_s
    except PermanentError as error:
        return Outcome(0.0, error.code)
    if preset == "copy" and abs((copied := plain(made.path)).seconds - length) > CLOSE_S:
        return Outcome(copied.seconds)
    return Outcome(length)


def cases(clip: Path, directory: Path, index: int) -> Iterator[tuple[str, str, Path]]:
    """Yield each mutation that can be made of a clip, with a preset."""
    names = list(presets.PRESETS)
    # test_real_input.py takes every clip as it is.
    seen = set() if ALL else {clip.read_bytes()}
    for number, (name, mutate) in enumerate(MUTATIONS.items()):
        mutated = directory / f"{number}-{clip.name}"
        try:
            mutate(clip, mutated)
        except subprocess.CalledProcessError:
            continue  # this container or codec does not take such a change
        if (data := mutated.read_bytes()) in seen:
            continue  # without times in a file, only what was cut or joined differs
        seen.add(data)
        for preset in names if ALL else [names[(number + index) % len(names)]]:
            yield name, preset, mutated


def disagreement(mutation: str, preset: str, ours: Outcome, theirs: Outcome) -> str:
    """Return in what the two outcomes differ, if not in a way that is better."""
    if not ours.error:
        # Where FFmpeg reports damage, a resampler or an encoder may lose more or less with it.
        close_s = tolerance(theirs.seconds) if theirs.error else CLOSE_S
        if abs(ours.seconds - theirs.seconds) <= close_s:
            return ""
        return f"{ours.seconds:.3f} s, plain FFmpeg {theirs.seconds:.3f} s {theirs.error!r}"
    if ours.error == Code.NO_AUDIO and not theirs.seconds:
        return ""
    if theirs.error or (ours.error == Code.TRUNCATED and mutation.startswith("cut")):
        return ""
    if preset == "copy" and ours.error == Code.UNSUPPORTED_CODEC and mutation in CHANGING:
        return ""
    return f"{ours.error}, plain FFmpeg {theirs.seconds:.3f} s"


@pytest.mark.parametrize("name", clips.CLIPS if ALL else SOME)
def test_the_engine_agrees_with_plain_ffmpeg(name: str, shelf: Shelf, tmp_path: Path) -> None:
    index = list(clips.CLIPS).index(name)
    seen, wrong = 0, []
    for mutation, preset, mutated in cases(shelf(name), tmp_path, index):
        theirs = plain(mutated)
        ours = engine(mutated, preset, tmp_path / f"{mutation}-{preset}")
        seen += 1
        if why := disagreement(mutation, preset, ours, theirs):
            wrong.append(f"{mutation}, {preset}: {why}")

    assert not wrong
    assert seen >= 4
