"""Cuts the audio into pieces below a size limit, at quiet points, for speech models.

An MP3 piece consists of frames of the whole file. Two more frames before them warm up the decoder,
and its Info frame makes players skip their samples, so that all pieces together decode to exactly
the samples of the whole. Lossless audio is cut between samples, a copied or Opus stream between
packets.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from shared.media import packets, presets
from shared.media.encoded import Encoded
from shared.media.ffmpeg.process import Job
from shared.media.formats import mp3_frames
from shared.media.presets import Codec
from shared.media.source.inputs import own_file

#: How far before the limit to look for a quiet point: seconds, and share of a piece.
_SEARCH_S = 30.0
_SEARCH_SHARE = 0.25
_RATE = 8000
#: A quiet point is the middle of the quietest 0.2 s, in steps of 20 ms.
_STEP = _RATE // 50
_QUIET_STEPS = 10
_WARM_UP_FRAMES = 2
#: What a container adds to the packets of a piece: bytes, and a share.
_OVERHEAD_BYTES = 16_384
_OVERHEAD_SHARE = 0.03


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One piece, in seconds from the start of the audio."""

    path: Path
    start_s: float
    end_s: float


@dataclass(frozen=True)
class _Grid:
    """Where the audio can be cut: the start time of each unit, and the bytes before it.

    The last item of both is the end of the audio.
    """

    times: Sequence[float]
    offsets: Sequence[int]

    def furthest(self, start: int, room: int) -> int:
        """Return the end of the last unit that fits into ``room`` bytes from ``start``."""
        return max(start + 1, bisect_right(self.offsets, self.offsets[start] + room) - 1)


def cut(encoded: Encoded, limit: int, directory: Path, job: Job) -> list[Piece]:
    """Cut the audio into pieces of at most ``limit`` bytes; together they are the whole."""
    bare = encoded.recipe.codec is Codec.MP3 and encoded.recipe.muxer == "mp3"
    return (_cut_mp3 if bare else _cut_packets)(encoded, limit, directory, job)


def _plan(grid: _Grid, room: int, encoded: Encoded, job: Job) -> list[int]:
    """Return the first unit of each piece, and the end."""
    edges, last = [0], len(grid.times) - 1
    while (end := grid.furthest(edges[-1], room)) < last:
        edges.append(_quiet_unit(grid, edges[-1], end, encoded, job))
    return [*edges, last]


def _quiet_unit(grid: _Grid, start: int, end: int, encoded: Encoded, job: Job) -> int:
    """Return the unit nearest to the quietest point of the last stretch before ``end``."""
    until = grid.times[end]
    search_s = min(_SEARCH_S, _SEARCH_SHARE * (until - grid.times[start]))
    since = until - search_s
    quiet_s = since + _quietest(_samples(encoded, since, search_s, job))
    return min(end, max(start + 1, bisect_right(grid.times, quiet_s)))


def _samples(encoded: Encoded, start_s: float, length_s: float, job: Job) -> array[int]:
    window = ["-ss", f"{start_s:.3f}", "-t", f"{length_s:.3f}"]
    output = ["-map", "0:a:0", "-ac", "1", "-ar", str(_RATE), "-f", "s16le", "pipe:1"]
    process = job.start(
        [*window, *own_file(encoded.path, encoded.recipe), *output], stdout=True, ours=True
    )
    data = b"".join(process.blocks())
    process.wait()
    job.forget(process)
    return array("h", data[: len(data) // 2 * 2])


def _quietest(samples: array[int]) -> float:
    """Return the middle of the quietest stretch in seconds; the last of equal ones."""
    steps = [sum(map(abs, samples[at : at + _STEP])) for at in range(0, len(samples), _STEP)]
    width = min(_QUIET_STEPS, max(1, len(steps)))
    sums = [sum(steps[at : at + width]) for at in range(len(steps) - width + 1)]
    if not sums:
        return 0.0
    quietest = max(range(len(sums)), key=lambda at: (-sums[at], at))
    return (quietest + width / 2) * _STEP / _RATE


# MP3: cut between frames.


def _cut_mp3(encoded: Encoded, limit: int, directory: Path, job: Job) -> list[Piece]:
    with encoded.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
        info = mp3_frames.info_bytes(m[:64])
        starts = mp3_frames.frame_starts(m, info)
        first = mp3_frames.Header.parse(m[info : info + 4])
        rate, size = first.sample_rate, first.samples
        delay = mp3_frames.ENCODER_DELAY + mp3_frames.DECODER_DELAY
        ends = [min(encoded.samples, max(0, at * size - delay)) for at in range(len(starts))]
        ends[-1] = encoded.samples
        grid = _Grid([end / rate for end in ends], starts)
        room = limit - mp3_frames.info_size(first) - _WARM_UP_FRAMES * (first.size + 1)
        pieces = []
        for index, (begin, end) in enumerate(pairwise(_plan(grid, room, encoded, job))):
            path = directory / f"{index:03}.mp3"
            path.write_bytes(_mp3_piece(m, starts, begin, end, ends[end] - ends[begin]))
            pieces.append(Piece(path=path, start_s=grid.times[begin], end_s=grid.times[end]))
    return pieces


def _mp3_piece(data: mmap.mmap, starts: Sequence[int], begin: int, end: int, samples: int) -> bytes:
    warm = min(begin, _WARM_UP_FRAMES)
    frames = data[starts[begin - warm] : starts[end]]
    first = mp3_frames.Header.parse(frames)
    delay = warm * first.samples - mp3_frames.DECODER_DELAY if warm else mp3_frames.ENCODER_DELAY
    return mp3_frames.info_frame(first, end - begin + warm, len(frames), samples, delay) + frames


# Everything else: FFmpeg cuts between samples or packets.


def _cut_packets(encoded: Encoded, limit: int, directory: Path, job: Job) -> list[Piece]:
    grid = _packet_grid(encoded, job)
    room = max(1, int((limit - _OVERHEAD_BYTES) / (1 + _OVERHEAD_SHARE)))
    times = [grid.times[edge] for edge in _plan(grid, room, encoded, job)]
    extension = encoded.recipe.extension
    paths = [directory / f"{index:03}.{extension}" for index in range(len(times) - 1)]
    lossless = encoded.recipe.codec in (Codec.FLAC, Codec.PCM)
    arguments = _by_samples if lossless else _by_packets
    job.run([*own_file(encoded.path, encoded.recipe), *arguments(encoded, times, paths)])
    spans = zip(paths, pairwise(times), strict=True)
    return [Piece(path=path, start_s=start, end_s=end) for path, (start, end) in spans]


def _packet_grid(encoded: Encoded, job: Job) -> _Grid:
    source = own_file(encoded.path, encoded.recipe)
    process = job.start([*source, *packets.arguments("a:0")], stdout=True, ours=True)
    times, offsets, end = [], [0], 0.0
    for start_s, duration_s, size in packets.rows(process.blocks()):
        times.append(max(0.0, start_s))
        offsets.append(offsets[-1] + size)
        end = start_s + duration_s
        job.touch()
    process.wait()
    return _Grid([*times, end], offsets)


def _by_samples(encoded: Encoded, times: Sequence[float], paths: Sequence[Path]) -> list[str]:
    if len(paths) == 1:
        return [*presets.codec_arguments(encoded.recipe), f"file:{paths[0]}"]
    edges = "|".join(str(round(time * encoded.recipe.sample_rate)) for time in times[1:-1])
    pads = [f"[c{index}]" for index in range(len(paths))]
    outputs = [
        argument
        for pad, path in zip(pads, paths, strict=True)
        for argument in ("-map", pad, *presets.codec_arguments(encoded.recipe), f"file:{path}")
    ]
    return ["-filter_complex", f"[0:a:0]asegment=samples={edges}{''.join(pads)}", *outputs]


def _by_packets(encoded: Encoded, times: Sequence[float], paths: Sequence[Path]) -> list[str]:
    muxer = ["-segment_format", encoded.recipe.muxer, "-reset_timestamps", "1"]
    edges = ",".join(f"{time - 0.0005:.6f}" for time in times[1:-1]) or str(times[-1] + 1)
    pattern = paths[0].with_name(f"%03d{paths[0].suffix}")
    return [
        *("-map", "0:a:0", "-c", "copy", "-fflags", "+bitexact"),
        *("-f", "segment", "-segment_times", edges, *muxer, f"file:{pattern}"),
    ]
