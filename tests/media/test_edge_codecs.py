"""Cases that test files rarely have and real files often do: old AAC, trimmed ends, odd layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media import clips
from tests.media.rig import Rig


def one_pass(clip: Path, out: Path) -> Path:
    clips.run("-i", clip, "-b:a", "128k", "-ac", "2", "-reservoir", "0", out)
    return out


@pytest.mark.parametrize("coder", [["-aac_pns", "1", "-b:a", "32k"], ["-aac_coder", "fast"]])
def test_aac_with_noise_substitution(coder: list[str], worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    noise = ["-f", "lavfi", "-i", "anoisesrc=d=5:r=44100:a=0.3,aformat=channel_layouts=stereo"]
    clips.run(*noise, "-c:a", "aac", *coder, clip)

    made = worker.extract(clip)

    first, second = clips.decoded_md5s(made.path, one_pass(clip, tmp_path / "whole.mp3"))
    assert first == second


@pytest.mark.parametrize("layout", ["2.1", "quad", "5.0", "6.1", "7.1"])
def test_other_layouts_are_mixed_as_plain_ffmpeg_does(
    layout: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*clips.speech(3, 44100, 2), "-af", f"aformat=channel_layouts={layout}", clip)

    made = worker.extract(clip)

    first, second = clips.decoded_md5s(made.path, one_pass(clip, tmp_path / "whole.mp3"))
    assert first == second


@pytest.mark.parametrize("name", ["sync — Besprechung 会議 🎙.mp4", "it's \"a\" b.mp4", "-i.mp4",
                                  "a\nb.mp4", "%03d.mp4", "file:x|y.mp4"])  # fmt: skip
def test_any_name_works(name: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / name
    plain = tmp_path / "plain.mp4"
    clips.run(*clips.speech(1, 44100, 1), "-c:a", "aac", plain)
    plain.rename(clip)

    assert worker.extract(clip).audio.duration_s == pytest.approx(1, abs=0.03)
