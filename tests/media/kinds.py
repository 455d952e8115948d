"""Recordings as bug reports describe them, made from synthetic sound.

Each kind is one way in which a container and its audio disagree, or in which a reader that
believes containers goes wrong. Plain FFmpeg's decoding is the right one.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

from tests.media import clips

SECONDS = 5.0
_VIDEO_S = 8.0
_DAY_S = 100_000


def speech(seconds: float = SECONDS, rate: int = 48000, channels: int = 1) -> list[str]:
    return clips.speech(seconds, rate, channels)


def _encode(*options: str, rate: int = 48000, channels: int = 1) -> Callable[[Path], None]:
    """Return a maker that encodes speech with these options."""
    return lambda path: void(clips.run(*speech(rate=rate, channels=channels), *options, path))


def void(_: object) -> None:
    """Drop a result."""


def _video(path: Path, *options: str) -> Path:
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=10:d={_VIDEO_S}"]
    h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-c:a", "aac"]
    clips.run(*picture, *speech(_VIDEO_S), *h264, *options, path)
    return path


def _broadcast(video: str, audio: str) -> Callable[[Path], None]:
    """Return a maker of a recording with the picture of a broadcaster."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=352x288:r=25:d={SECONDS}"]
    return lambda path: void(clips.run(*picture, *speech(), "-c:v", video, "-c:a", audio, path))


def _from_video(*options: str, before: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """Return a maker that copies a recording with picture, with these options."""

    def make(path: Path) -> None:
        plain = _video(path.with_name(f"plain-{path.name}.mp4"))
        clips.run(*before, "-i", plain, "-c", "copy", *options, path)

    return make


def _joined(*parts: tuple[str, tuple[str, ...], int, int]) -> Callable[[Path], None]:
    """Return a maker that writes parts (extension, options, rate, channels) after one another."""

    def make(path: Path) -> None:
        data = b""
        for index, (extension, options, rate, channels) in enumerate(parts):
            part = path.with_name(f"part{index}-{path.name}.{extension}")
            clips.run(*speech(4, rate, channels), *options, part)
            data += part.read_bytes()
        path.write_bytes(data)

    return make


def _junk(extension: str, codec: str, *, before: int, between: int, after: int):  # type: ignore[no-untyped-def]
    """Return a maker of two runs of bare frames with junk before, between and after them."""

    def make(path: Path) -> None:
        part = path.with_name(f"part-{path.name}.{extension}")
        clips.run(*speech(4), "-c:a", codec, part)
        noise = random.Random(4).randbytes
        frames = part.read_bytes()
        path.write_bytes(noise(before) + frames + noise(between) + frames + noise(after))

    return make


def _behind_junk(extension: str, codec: str) -> Callable[[Path], None]:
    """Return a maker of a recording whose container begins behind junk."""

    def make(path: Path) -> None:
        part = path.with_name(f"part-{path.name}.{extension}")
        clips.run(*speech(), "-c:a", codec, part)
        path.write_bytes(random.Random(8).randbytes(5_000) + part.read_bytes())

    return make


def _with_info_frame(path: Path) -> None:
    """Write an MP3 whose Info frame is a packet of Matroska, as mkvmerge leaves it."""
    bare, plain = path.with_name("bare.mp3"), path.with_name("plain-info.mp3")
    clips.run(*speech(), *_MP3, "-id3v2_version", "0", plain)
    clips.run("-i", plain, "-c", "copy", "-write_xing", "0", "-id3v2_version", "0", bare)
    # Two such frames: FFmpeg skips the first one it reads.
    info = plain.read_bytes()[: len(plain.read_bytes()) - bare.stat().st_size]
    bare.write_bytes(info + info + bare.read_bytes())
    clips.run("-i", bare, "-c", "copy", path)


def _drifting(path: Path) -> None:
    plain = path.with_name("plain-drift.m4a")
    clips.run(*speech(20), "-c:a", "aac", plain)
    clips.run("-i", plain, "-c", "copy", "-bsf:a", "setts=ts=TS*1.02", path)


def _clock_jumps(path: Path) -> None:
    data = b""
    for offset in (0, 72_000):
        part = path.with_name(f"part{offset}.ts")
        data += _video(part, "-output_ts_offset", str(offset), "-f", "mpegts").read_bytes()
    path.write_bytes(data)


def _late_picture(path: Path) -> None:
    plain = _video(path.with_name("plain-late.mp4"))
    late = r"setts=ts=if(gte(N\,79)\,TS+50000/TB\,TS)"
    clips.run("-i", plain, "-c", "copy", "-bsf:v", late, path)


def _high_granule(path: Path) -> None:
    """Write an Opus recording that was cut out of a stream ten days after its start."""
    plain = path.with_name("plain-granule.opus")
    clips.run(*speech(), "-c:a", "libopus", "-page_duration", "20000", plain)
    data, out, at, count = plain.read_bytes(), bytearray(), 0, 0
    while at < len(data):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = bytearray(data[at:end])
        granule = struct.unpack("<q", page[6:14])[0]
        if count >= 2 and granule > 0:
            page[6:14] = struct.pack("<q", granule + 48000 * 86400 * 10)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _ogg_crc(bytes(page)))
        out += page
        at, count = end, count + 1
    path.write_bytes(out)


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _late_audio(path: Path) -> None:
    """Write a stream whose audio starts behind everything that FFmpeg looks at by itself."""
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=20,noise=alls=60:allf=t"]
    video = "mpeg2video" if path.suffix == ".mpg" else "libx264"
    audio = "mp2" if path.suffix == ".mpg" else "aac"
    late = ["-itsoffset", "14", *speech(5)]
    options = ["-c:v", video, "-preset", "ultrafast", "-bf", "0", "-b:v", "4M", "-c:a", audio]
    clips.run(*picture, *late, "-map", "0", "-map", "1", *options, path)


def _block_align(path: Path) -> None:
    samples = clips.run(*speech(rate=16000), "-f", "s16le", "-")
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 1, 16)  # BlockAlign 1 where 2 is right
    body = b"WAVEfmt " + struct.pack("<I", 16) + form
    body += b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def _block_align_24(path: Path) -> None:
    """Write 24 bits in stereo whose block align is 1, not 6."""
    clips.run(*speech(channels=2), "-c:a", "pcm_s24le", path)
    data = bytearray(path.read_bytes())
    at = data.find(b"fmt ") + 20
    data[at : at + 2] = struct.pack("<H", 1)
    path.write_bytes(data)


def _timed(extension: str, times: str, *options: str) -> Callable[[Path], None]:
    """Return a maker of a recording whose packets have other times."""

    def make(path: Path) -> None:
        plain = path.with_name(f"plain-{path.name}.{extension}")
        clips.run(*speech(), *options, plain)
        clips.run("-i", plain, "-c", "copy", "-bsf:a", f"setts=ts={times}", path)

    return make


def _trimmed_pcm(path: Path) -> None:
    """Write a recording whose edit list starts within the audio, at the last key picture."""
    plain = path.with_name("plain-trim.mov")
    _video(plain, "-c:a", "pcm_s16le")
    clips.run("-ss", "3.3", "-i", plain, "-t", "4", "-c", "copy", path)


def _without_clusters(path: Path) -> None:
    """Write a live recording of which some packets in the middle are overwritten."""
    clips.run(*speech(20), *_OPUS, "-f", "webm", "-live", "1", path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = random.Random(6).randbytes(6000)
    path.write_bytes(data)


def _no_numbers(path: Path) -> None:
    """Write floats of which some are no numbers, and some far beyond full scale."""
    clips.run(*speech(), "-c:a", "pcm_f32le", path)
    data = bytearray(path.read_bytes())
    for at, value in enumerate((float("nan"), float("inf"), 3e38, -3e38) * 50):
        start = len(data) // 8 * 4 + at * 40
        data[start : start + 4] = struct.pack("<f", value)
    path.write_bytes(data)


def empty_default(path: Path) -> None:
    """Write a recording whose default track has no packet, beside one that has audio."""
    empty = ["-filter_complex", "[1:a]atrim=end=0[empty]", "-map", "0:a", "-map", "[empty]"]
    flags = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
    clips.run(*speech(), *speech(channels=2), *empty, *_OPUS, *flags, path)


def _trimmed_flac(*trim: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        whole = path.with_name(f"whole-{path.name}")
        clips.run(*speech(20), whole)
        clips.run("-i", whole, *trim, "-c", "copy", path)

    return make


def _two_in_one(*options: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        one = path.with_name(f"one-{path.name}")
        clips.run(*speech(5), *options, one)
        path.write_bytes(one.read_bytes() * 2)

    return make


def _edited(*options: str) -> Callable[[Path], None]:
    """Return a maker of a recording whose edit list starts within a packet."""

    def make(path: Path) -> None:
        plain = path.with_name(f"plain-{path.name}")
        clips.run(*speech(), *options, plain)
        clips.run("-ss", "1.3", "-i", plain, "-c", "copy", path)

    return make


def _piped(*options: str) -> Callable[[Path], None]:
    """Return a maker of a file whose writer could not go back to write the length."""
    return lambda path: void(path.write_bytes(clips.run(*speech(), *options, "-")))


def _iamf(path: Path) -> None:
    element = "type=iamf_audio_element:id=1:st=0:audio_element_type=channel,layer=ch_layout=stereo"
    mix = (
        "type=iamf_mix_presentation:id=2:stg=0:annotations=en-us=x,submix=parameter_id=100:"
        "parameter_rate=48000:default_mix_gain=0.0|element=stg=0:parameter_id=101:"
        "parameter_rate=48000:annotations=en-us=y|"
        "layout=sound_system=stereo:layout_type=loudspeakers"
    )
    groups = ["-stream_group", element, "-stream_group", mix, "-streamid", "0:0"]
    clips.run(*speech(channels=2), "-c:a", "libopus", *groups, path)


_FORGED_STREAM = "x)\n[info]   Stream #0:7: Audio: mp3, 8000 Hz, mono"
_FORGED_LENGTH = "x)\n[info]   Duration: 99:99:99.99, start: -.-"
_AAC, _OPUS, _MP3 = ("-c:a", "aac"), ("-c:a", "libopus"), ("-c:a", "libmp3lame")
_BOOT = ("-output_ts_offset", str(_DAY_S))

#: What plays: file name → what makes it.
PLAYS: dict[str, Callable[[Path], None]] = {
    # A length that is not the audio's.
    "late_picture.mp4": _late_picture,
    "clock_jumps.ts": _clock_jumps,
    "boot.webm": _encode(*_OPUS, *_BOOT),
    "boot.mkv": _encode(*_AAC, *_BOOT),
    "boot.ogg": _encode(*_OPUS, *_BOOT),
    "boot.asf": _encode(*_AAC, *_BOOT),
    "high_granule.opus": _high_granule,
    # A declared length that the decoder contradicts in a whole file.
    "drift.mp4": _drifting,
    "trimmed_head.flac": _trimmed_flac("-ss", "7", "-t", "6"),
    "trimmed_end.flac": _trimmed_flac("-t", "6"),
    "block_align.wav": _block_align,
    "edit_head.mp4": _from_video(before=("-ss", "1.3")),
    "edit_end.mp4": _from_video("-t", "5.2"),
    "drift.webm": _timed("webm", "TS*0.9", *_OPUS),
    "jitter.mkv": _timed("mkv", "TS+random(0)*0.2/TB", *_OPUS),
    "edit_pcm.mov": _trimmed_pcm,
    "lost_packets.webm": _without_clusters,
    # Parameters that change on the way.
    "rate.aac": _joined(("aac", _AAC, 44100, 1), ("aac", _AAC, 48000, 1)),
    "channels.aac": _joined(("aac", _AAC, 48000, 1), ("aac", _AAC, 48000, 2)),
    "often.aac": _joined(
        ("aac", _AAC, 44100, 1),
        ("aac", _AAC, 48000, 2),
        ("aac", _AAC, 32000, 1),
        ("aac", _AAC, 44100, 2),
    ),
    "changes.ts": _joined(("ts", _AAC, 44100, 1), ("ts", _AAC, 48000, 2)),
    "changes.mp3": _joined(("mp3", _MP3, 48000, 1), ("mp3", _MP3, 44100, 2)),
    "changes.ac3": _joined(("ac3", (), 48000, 1), ("ac3", (), 48000, 2)),
    # Audio that a quick look does not see.
    "late.ts": _late_audio,
    "late.mpg": _late_audio,
    "bracket.mkv": _encode(*_OPUS, "-metadata:s:a:0", "language=en(US)"),
    "forged_stream.mkv": _encode(*_OPUS, "-metadata:s:a:0", f"language={_FORGED_STREAM}"),
    "forged_length.mkv": _encode(*_AAC, "-metadata:s:a:0", f"language={_FORGED_LENGTH}"),
    "iamf.mp4": _iamf,
    # Samples that an encoder refuses.
    "no_numbers.wav": _no_numbers,
    # Good files that a copy must not call corrupt.
    "float.aif": _encode("-c:a", "pcm_f32be"),
    "float.mov": _encode("-c:a", "pcm_f32be"),
    "double.caf": _encode("-c:a", "pcm_f64be"),
    "s8.caf": _encode("-c:a", "pcm_s8"),
    "ima4.mov": _encode("-c:a", "adpcm_ima_qt"),
    "nellymoser.flv": _encode("-c:a", "nellymoser", rate=22050),
    "adpcm.flv": _encode("-c:a", "adpcm_swf", rate=22050),
    "block_align_24.wav": _block_align_24,
    "adpcm_ms.wav": _encode("-c:a", "adpcm_ms"),
    "two.webm": _two_in_one(*_OPUS, "-f", "webm", "-live", "1"),
    "two.mp4": _two_in_one(*_AAC, "-movflags", "frag_keyframe+empty_moov"),
    "no_length.flac": _piped("-c:a", "flac", "-f", "flac"),
    "no_length.mkv": _encode("-c:a", "flac"),
    "odd.avi": _encode(*_MP3),
    "a.eac3": _encode("-c:a", "eac3"),
    "eac3.mkv": _encode("-c:a", "eac3"),
    "vorbis.ogg": _encode("-c:a", "libvorbis"),
    "vorbis.webm": _encode("-c:a", "libvorbis"),
    "alac.mkv": _encode("-c:a", "alac"),
    # Chains whose parts are alike.
    "chain.opus": _joined(("opus", _OPUS, 48000, 1), ("opus", _OPUS, 48000, 1)),
    "chain.ogg": _joined(
        ("ogg", ("-c:a", "libvorbis"), 48000, 1), ("ogg", ("-c:a", "libvorbis"), 48000, 1)
    ),
    "chain.flac": _two_in_one("-c:a", "flac"),
    "chain.oga": _two_in_one("-c:a", "flac"),
    "chain.latm": _two_in_one(*_AAC, "-f", "latm"),
    # An edit list over packets of other codecs than AAC.
    "edit_mp3.mp4": _edited(*_MP3),
    "edit_ac3.mp4": _edited("-c:a", "ac3"),
    "edit_flac.mp4": _edited("-c:a", "flac"),
    # Junk around good audio.
    "junk_first.mp3": _junk("mp3", "libmp3lame", before=500_000, between=0, after=0),
    "junk_between.mp3": _junk("mp3", "libmp3lame", before=0, between=300_000, after=0),
    "junk_after.mp3": _junk("mp3", "libmp3lame", before=0, between=0, after=300_000),
    "junk.aac": _junk("aac", "aac", before=60_000, between=60_000, after=0),
    "junk.mp2": _junk("mp2", "mp2", before=500_000, between=300_000, after=0),
    "junk_first.ogg": _behind_junk("ogg", "libvorbis"),
    "junk_first.flac": _behind_junk("flac", "flac"),
    # A copy of an MP3 in another container, with the frame that is no audio.
    "info_frame.mka": _with_info_frame,
    "stereo_ima4.mov": _encode("-c:a", "adpcm_ima_qt", rate=44100, channels=2),
    # Its index declares MP3.
    "layer_2.mp4": _encode("-c:a", "mp2"),
    # A stream without a container.
    "a.latm": _encode(*_AAC, "-f", "latm"),
    "a.thd": _encode("-c:a", "truehd", "-strict", "-2"),
    # Containers of broadcasters, recorders and archives.
    "a.mxf": _broadcast("mpeg2video", "pcm_s16le"),
    "a.wtv": _broadcast("mpeg2video", "mp2"),
    "a.sox": _encode("-c:a", "pcm_s32le"),
    "s302m.ts": _encode("-c:a", "s302m", "-strict", "-2", channels=2),
    "ra144.rm": _encode("-c:a", "real_144", rate=8000),
    "dfpwm.wav": _encode("-c:a", "dfpwm"),
    # An empty packet at the end, which no other container repeats.
    "empty_packet.avi": _encode("-c:a", "flac"),
}

#: What plays, but what no container here can hold as it is.
NOT_COPYABLE = frozenset({"chain.oga", "dfpwm.wav", "layer_2.mp4", "s302m.ts"})

#: What a resampler or an encoder may lose or refuse, so that every preset is tried.
RESAMPLED = frozenset(
    {"rate.aac", "channels.aac", "often.aac", "changes.ts", "changes.mp3", "changes.ac3"}
    | {"lost_packets.webm", "no_numbers.wav", "double.caf", "s8.caf", "a.sox"}
)


def _zeroed_index(path: Path, *, keep_head: bool) -> None:
    data = bytearray(_video(path.with_name(f"plain-{path.name}")).read_bytes())
    start = data.rfind(b"moov") + (4 if keep_head else -4)
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)


def _unknown_in_ts(path: Path) -> None:
    """Write a transport stream whose audio is declared as MPEG-H (stream type 0x2D)."""
    plain = _video(path.with_name("plain-mpegh.ts"), "-f", "mpegts")
    data, noise = bytearray(plain.read_bytes()), random.Random(5).randbytes
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        if (packet[1] & 0x1F) << 8 | packet[2] == 0x101:
            # Behind the PES header its AAC is overwritten: FFmpeg would recognise it.
            data[at + 30 : at + 188] = noise(158)
        entry = packet.find(b"\x0f\xe1\x01\xf0")  # AAC on PID 0x101 in the program map
        if entry > 0 and packet[1] & 0x40:
            packet[entry] = 0x2D
            start = 5 + packet[4]
            length = (packet[start + 1] & 0x0F) << 8 | packet[start + 2]
            end = start + 3 + length - 4
            packet[end : end + 4] = struct.pack(">I", _mpeg_crc(bytes(packet[start:end])))
            data[at : at + 188] = packet
    path.write_bytes(data)


def _mpeg_crc(section: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


#: What does not play whole: file name → what makes it, and how it ends.
FAILS: dict[str, tuple[Callable[[Path], None], str]] = {
    "zeroed_index.mp4": (lambda path: _zeroed_index(path, keep_head=False), "corrupt"),
    "zeroed_tracks.mp4": (lambda path: _zeroed_index(path, keep_head=True), "corrupt"),
    "mpegh.ts": (_unknown_in_ts, "unsupported_codec"),
    "channels.opus": (
        _joined(("opus", _OPUS, 48000, 1), ("opus", _OPUS, 48000, 2)),
        "unsupported_codec",
    ),
    "channels.ogg": (
        _joined(("ogg", ("-c:a", "libvorbis"), 48000, 1), ("ogg", ("-c:a", "libvorbis"), 44100, 2)),
        "unsupported_codec",
    ),
    "a.sln": (_encode("-f", "s16le", rate=8000), "unsupported_codec"),
    "a.g722": (_encode("-c:a", "g722", "-f", "g722", rate=16000), "unsupported_codec"),
    "a.aptx": (_encode("-c:a", "aptx", channels=2), "unsupported_codec"),
    "a.s24be": (_encode("-c:a", "pcm_s24be", "-f", "s24be"), "unsupported_codec"),
}
