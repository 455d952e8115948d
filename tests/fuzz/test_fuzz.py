"""A hundred thousand mutated inputs, the same in every run; ``make fuzz`` runs others."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from shared.tracking.lease import Outcome
from tests.fuzz import engine
from tests.fuzz.engine import BrokenPromiseError, Target, check, fuzz, make, mutated
from tests.fuzz.targets import _MATROSKA, _MP4, _RIFF, TARGETS
from tests.media import clips
from tests.media.rig import RangeSources, Rig

SEED = 1
INPUTS = 105_000
_SHARES = sum(target.share for target in TARGETS)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_inputs(target: Target) -> None:
    count = INPUTS * target.share // _SHARES + 1

    assert fuzz(target, SEED, range(count)) == count


def test_every_seed_is_a_valid_input_or_refused() -> None:
    for target in TARGETS:
        for number in range(len(target.seeds)):
            check(target, make(target, SEED, number))


def test_an_input_can_be_made_again() -> None:
    for target in TARGETS:
        assert make(target, 7, 1234) == make(target, 7, 1234)


def _connects(data: bytes) -> None:
    with socket.socket() as one:
        one.connect_ex(("127.0.0.1", 9))


def _writes(data: bytes) -> None:
    Path("/dev/null").write_bytes(data)


def _reads(data: bytes) -> None:
    Path("/etc/hostname").read_bytes()


def _hangs(data: bytes) -> None:
    ends = time.process_time() + 20
    while time.process_time() < ends:
        pass


def _takes_memory(data: bytes) -> None:
    bytearray(1 << 30)[::4096] = bytes(1 << 18)


def _raises(data: bytes) -> None:
    raise KeyError(data)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (_connects, "socket"), (_writes, "open"), (_reads, "open"), (_raises, "KeyError"),
        (_hangs, "took more than"), (_takes_memory, "took more than"),
    ],
)  # fmt: skip
def test_the_fuzzer_detects_each_kind_of_failure(  # type: ignore[no-untyped-def]
    run, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LIMIT_S", 0.3)
    target = Target(name="t", seeds=[b"abc"], run=run)

    with pytest.raises(BrokenPromiseError, match=why) as caught:
        fuzz(target, SEED, range(1))

    assert "input 0 of seed 1, 3 bytes: b'abc'" in str(caught.value)
    assert "python -m tests.fuzz --target t --input 616263" in str(caught.value)


@pytest.mark.parametrize("number", range(20))
def test_ffmpeg_on_mutated_files(number: int, tmp_path: Path) -> None:
    """A small sample: each takes some FFmpeg processes."""
    import random

    chance = random.Random(f"{SEED}/{number}")
    whole = tmp_path / f"whole.{['mp4', 'mkv', 'wav', 'flac'][number % 4]}"
    clips.run(*clips.speech(1, 16000, 1), whole)
    seeds = [whole.read_bytes()]
    if number % 5 == 4:
        seeds += [*_RIFF, *_MP4, *_MATROSKA]
    clip = tmp_path / f"a{whole.suffix}"
    clip.write_bytes(mutated(chance, seeds) or b"x")
    rig = Rig(tmp_path)
    rig.sources = RangeSources if number % 2 else rig.sources

    made = rig.extract(clip, ["mp3", "copy", "whisper"][number % 3])

    assert made.result.outcome in (Outcome.DONE, Outcome.FAILED, Outcome.SKIPPED)
