"""Audio files that the nightly run takes by their names can be opened and compressed."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.core import filetypes
from tests.media import clips
from tests.media.rig import RangeSources, Rig

_STRICT = ("-strict", "-2")


def _sphere(path: Path) -> None:
    """Write a NIST SPHERE file: a header of 1,024 bytes in text, then samples."""
    fields = "channel_count -i 1\nsample_count -i 32000\nsample_rate -i 16000\n"
    fields += "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_coding -s3 pcm\nend_head\n"
    samples = (round(8000 * math.sin(n / 9)) for n in range(32000))
    data = b"".join(struct.pack("<h", one) for one in samples)
    path.write_bytes(f"NIST_1A\n   1024\n{fields}".ljust(1024).encode() + data)


def _encoded(*options: str) -> Callable[[Path], None]:
    return lambda path: void(clips.run(*clips.speech(2, 16000, 1), *options, path))


def void(_: object) -> None:
    """Drop a result."""


FILES: dict[str, Callable[[Path], None]] = {
    "a.dts": _encoded("-c:a", "dca", "-ar", "48000", *_STRICT),
    "a.eac3": _encoded("-ar", "48000"),
    "a.ec3": _encoded("-ar", "48000", "-f", "eac3"),
    "a.iamf": lambda path: void(
        clips.run(
            *clips.speech(2, 48000, 2),
            *("-c:a", "libopus", "-streamid", "0:0"),
            *("-stream_group", "type=iamf_audio_element:id=1:st=0:audio_element_type=channel,"
              "layer=ch_layout=stereo"),
            *("-stream_group", "type=iamf_mix_presentation:id=2:stg=0:annotations=en-us=x,"
              "submix=parameter_id=100:parameter_rate=48000:default_mix_gain=0.0|element=stg=0:"
              "parameter_id=101:parameter_rate=48000:annotations=en-us=y|"
              "layout=sound_system=stereo:layout_type=loudspeakers"),
            path,
        )
    ),
    "a.latm": _encoded("-c:a", "aac", "-ar", "48000", "-f", "latm"),
    "a.loas": _encoded("-c:a", "aac", "-ar", "48000", "-f", "latm"),
    "a.mlp": _encoded("-c:a", "mlp", "-ar", "48000", *_STRICT),
    "a.mpa": _encoded("-c:a", "mp2", "-f", "mp2"),
    "a.mpga": _encoded("-c:a", "libmp3lame", "-f", "mp3"),
    "a.nist": _sphere,
    "a.ra": _encoded("-c:a", "real_144", "-ar", "8000", "-f", "rm"),
    "a.rf64": _encoded("-f", "wav", "-rf64", "always"),
    "a.sf": _encoded("-f", "ircam"),
    "a.snd": _encoded("-f", "au"),
    "a.sox": _encoded("-c:a", "pcm_s32le"),
    "a.sph": _sphere,
    "a.thd": _encoded("-c:a", "truehd", "-ar", "48000", *_STRICT),
    "a.tta": _encoded(),
    "a.voc": _encoded(),
    "a.wave": _encoded("-f", "wav"),
    "a.wv": _encoded("-c:a", "wavpack"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_an_extension_of_audio_can_be_extracted(name: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / name
    FILES[name](clip)
    worker.sources = RangeSources

    assert filetypes.is_audio_name(name)
    for preset in ("mp3", "copy"):
        assert worker.extract(clip, preset).audio.duration_s == pytest.approx(2, abs=0.06), preset


@pytest.mark.parametrize("name", ["a.sln", "a.g722", "a.gsm", "a.m3u", "a.srt", "a.txt", "a.mp4"])
def test_other_extensions_are_left_to_people(name: str) -> None:
    assert not filetypes.is_audio_name(name)
