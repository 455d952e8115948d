"""The picture of a recording's loudness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.media import waveform
from tests.media import clips
from tests.media.rig import Extracted, Rig

Shelf = Callable[[str], Path]
WIDTH, HEIGHT = 1600, 240


def heights(made: Extracted) -> list[int]:
    """Return how many pixels of each column of the picture are not see-through."""
    (name,) = [one.name for one in made.storage.list() if one.name.endswith(".png")]
    stored = made.storage.stat(name)
    assert stored is not None
    assert stored.content_type == "image/png"
    assert stored.bytes < 20_000
    picture = made.copied(name)
    pixels = clips.run("-i", picture, "-pix_fmt", "rgba", "-f", "rawvideo", "-")[3::4]
    assert len(pixels) == WIDTH * HEIGHT
    return [sum(map(bool, pixels[x::WIDTH])) for x in range(0, WIDTH, 4)]


def step(seconds: float, rate: int, loud: float, quiet: float) -> list[str]:
    """Return the arguments of noise that is loud for a third and then quiet."""
    noise = f"aevalsrc='(random(0)-0.5)*2*if(lt(t,{seconds / 3}),{loud},{quiet})'"
    return ["-f", "lavfi", "-i", f"{noise}:s={rate}:d={seconds}"]


@pytest.mark.parametrize(
    ("seconds", "preset"),
    [
        *((3, "mp3"), (3, "opus"), (300, "mp3"), (300, "copy")),
        *((30, preset) for preset in ("mp3", "whisper", "opus", "copy")),
    ],
)
def test_each_column_shows_its_own_time(
    seconds: int, preset: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*step(seconds, 8000, 0.5, 0.05), clip)

    columns = heights(worker.extract(clip, preset))

    edge = next(x for x, height in enumerate(columns) if height < HEIGHT / 4)
    assert edge == pytest.approx(waveform.COLUMNS / 3, abs=4)
    assert min(columns[: edge - 1]) > HEIGHT / 3
    assert max(columns[edge + 2 :]) < HEIGHT / 4


def test_quiet_sound_is_seen_and_silence_is_a_line(worker: Rig, tmp_path: Path) -> None:
    quiet, silent = tmp_path / "quiet.wav", tmp_path / "silent.wav"
    clips.run(*step(5, 16000, 0.2, 0.2), quiet)
    clips.run(*step(5, 16000, 0, 0), silent)

    assert max(heights(worker.extract(quiet))) > HEIGHT * 0.8
    assert set(heights(worker.extract(silent))) == {2}


@pytest.mark.parametrize("name", ["tenth.wav", "eight.wav", "8k.wav"])
def test_any_sound_has_one(name: str, shelf: Shelf, worker: Rig) -> None:
    assert len(heights(worker.extract(shelf(name)))) == waveform.COLUMNS
