"""A copy of a local file keeps its times, unless they have to be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.core.records import Status
from shared.media import copy
from tests.media import clips
from tests.media.rig import RangeSources, Rig

_GAP = "setts=ts='TS+if(gt(N,60),3/TB,0)'"
_LATE = "setts=ts='TS+2/TB'"
_PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=14"]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each pass over a source kept its times."""
    kept: list[bool] = []
    one_pass = copy._one_pass

    def noting(*arguments: Any, keep_times: bool = False, **options: Any) -> copy._Copied:
        kept.append(keep_times)
        return one_pass(*arguments, keep_times=keep_times, **options)

    monkeypatch.setattr(copy, "_one_pass", noting)
    monkeypatch.setattr(copy, "_SMALL_BYTES", 0)  # smaller files are decoded as a whole
    return kept


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("plain.mp4", [], [True]),
        ("plain.mkv", ["-c:a", "flac"], [True]),
        ("plain.mov", ["-c:a", "alac"], [True]),
        ("plain.wav", ["-c:a", "pcm_s16le"], [True]),
        ("gap.mp4", ["-bsf:a", _GAP], [True, False]),
        ("gap.mkv", ["-c:a", "aac", "-bsf:a", _GAP], [True, False]),
        ("offset.mkv", ["-c:a", "aac", "-output_ts_offset", "5"], [True]),
        ("late.mkv", [*_PICTURE, "-c:a", "aac", "-bsf:a", _LATE], [True]),
        ("late.mp4", [*_PICTURE, "-c:a", "aac", "-bsf:a", _LATE], [True, False]),
        ("plain.webm", ["-c:a", "libopus"], [False]),
    ],
)
def test_the_copy_is_the_same_as_with_times_that_were_set(
    name: str,
    options: list[str],
    expected: list[bool],
    worker: Rig,
    passes: list[bool],
    tmp_path: Path,
) -> None:
    clip = tmp_path / name
    clips.run(*clips.speech(12, 48000, 2), *options, clip)

    kept = worker.extract(clip, "copy")
    assert passes == expected
    passes.clear()
    worker.sources = RangeSources  # reading it twice would cost a download
    changed = worker.extract(clip, "copy")

    assert passes == [False]
    assert kept.path.read_bytes() == changed.path.read_bytes()
    assert kept.recording.status is Status.DONE
    assert kept.audio.duration_s == changed.audio.duration_s == pytest.approx(12, abs=0.05)
    assert kept.audio.start_offset_s == changed.audio.start_offset_s
