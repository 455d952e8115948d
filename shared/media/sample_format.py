"""In which raw format a decoder's samples reach an encoder without loss or needless bytes."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from shared.media.ffmpeg.process import Job
from shared.media.source.inputs import Input
from shared.media.tracks import AudioTrack, Probe

SampleFormat: TypeAlias = Literal["u8", "s16le", "s24le", "s32le", "s64le", "f32le", "f64le"]

#: Bytes of one sample.
BYTES: dict[SampleFormat, int] = {
    "u8": 1,
    "s16le": 2,
    "s24le": 3,
    "s32le": 4,
    "s64le": 8,
    "f32le": 4,
    "f64le": 8,
}

#: Lossless codecs, whose decoders give 16 or 32 bits as the recording has.
_EITHER = frozenset(
    {"flac", "alac", "wavpack", "tta", "tak", "ape", "mp4als", "mlp", "truehd", "wmalossless"}
    | {"dts", "sonic", "pcm_bluray", "pcm_dvd"}
)
_SIXTEEN = re.compile(
    r"pcm_(?:[su]8.*|[su]16.*|alaw|mulaw|vidc)|adpcm_.*|gsm.*|g723_1|g729|amr_.*lib|ilbc|sipr16"
)
_THIRTY_TWO = re.compile(r"pcm_[su](?:24|32|64).*")

#: The header of a WavPack block: its flags, and among them the bytes of a sample less one,
#: and whether samples are floats (WavPack 4 and 5 file format, "Block Header").
_FLAGS_AT, _BYTES_MASK, _FLOAT = 24, 0x3, 0x80


def of_track(input_: Input, found: Probe, job: Job) -> SampleFormat:
    """Return the raw format that gives an encoder what it would get from the decoder itself."""
    codec = found.track.codec
    if codec in _EITHER:
        return _ask(input_, found, found.track, job)
    if _SIXTEEN.fullmatch(codec):
        return "s16le"
    return "s32le" if _THIRTY_TWO.fullmatch(codec) else "f32le"


def _ask(input_: Input, found: Probe, track: AudioTrack, job: Job) -> SampleFormat:
    """Encode one frame with an encoder that takes every format, and read which it chose.

    FFmpeg picks the supported format nearest to the decoder's, and WavPack supports 8 to 32
    bits and floats.
    """
    one_frame = ["-map", f"0:{track.index}", "-frames:a", "1", "-c:a", "wavpack", "-f", "wv"]
    process = input_.start(job, found.input_options, [*one_frame, "pipe:1"], stdout=True)
    block = b"".join(process.blocks())
    process.end()
    flags = int.from_bytes(block[_FLAGS_AT : _FLAGS_AT + 4], "little")
    if flags & _FLOAT or not block:
        return "f32le"
    return "s16le" if flags & _BYTES_MASK <= 1 else "s32le"
