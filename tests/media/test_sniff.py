"""No container that FFmpeg writes is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.core.errors import PermanentError
from shared.media.formats.sniff import refuse_non_recording
from tests.media.containers import CONTAINERS, ffmpeg, make_container


@pytest.mark.parametrize("name", CONTAINERS)
def test_media_is_never_refused(tmp_path: Path, name: str) -> None:
    content = make_container(tmp_path, name, seconds=1).read_bytes()
    # However little of it there is, but for a few bytes that are letters alone ("RIFF").
    for length in (4096, 512, 64):
        refuse_non_recording(content[:length])


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.aac", "a.ac3", "a.amr", "a.au", "a.flac"])
def test_silence_is_never_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = CONTAINERS[name]
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=2", *options, path)
    content = path.read_bytes()
    for length in (4096, 512, 64):
        refuse_non_recording(content[:length])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.tiff", "a.bmp", "a.avif"])
def test_a_picture_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:r=1:s=64x64", "-frames:v", "1", path)
    with pytest.raises(PermanentError, match=r"picture|icon"):
        refuse_non_recording(path.read_bytes()[:4096])
