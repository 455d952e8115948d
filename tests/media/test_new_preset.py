"""A preset is one entry in one table, as CONTRIBUTING promises."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config.settings import Settings
from shared.media import presets
from shared.media.presets import Recipe
from shared.media.tracks import AudioTrack
from tests.media import clips
from tests.media.rig import Rig


def small(_: AudioTrack, bitrate: int) -> Recipe:
    """Opus in mono."""
    return replace(presets.opus(AudioTrack(index=0, codec="", sample_rate=48000, channels=1),
                                min(bitrate, 24_000)), preset="small")  # fmt: skip


def test_one_entry_makes_a_preset(
    shelf: Callable[[str], Path], worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.PRESETS, "small", small)

    made = worker.extract(shelf("last.mp4"), "small")

    assert Settings.from_environment({"AUDIO_PRESET": "small"}).audio_preset == "small"
    assert made.audio.preset == "small"
    assert made.audio.duration_s == pytest.approx(4, abs=0.05)
    assert clips.run("-i", made.path, "-f", "framecrc", "-").count(b"channel_layout_name 0: mono")


def test_the_command_line_offers_every_preset() -> None:
    help_ = subprocess.run(
        [".venv/bin/audio-pipeline", "extract", "--help"], capture_output=True, check=True
    ).stdout.decode()

    assert all(preset in help_ for preset in presets.PRESETS)
