"""Whether the bytes behind the declared end of a WAV are more of its samples.

A header that was never updated and one with foreign bytes behind the sound look the same, so the
bytes decide. Samples move in small steps, or else they resemble those before them, like noise.
Padding does not move at all. Text, compressed data and random bytes jump, and are loud.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from shared.media.formats.bounded_reader import BoundedReader

#: Pieces that are looked at on each side, and the bytes of one: speech has pauses.
_PIECES, _PIECE_BYTES = 12, 8 << 10
#: Mean step by mean deviation of the samples: independent ones reach 1.33 (uniform) to 1.41
#: (normal distribution), speech 0.1 to 0.7.
_SMOOTH = 1.0
#: Mean deviation of loud samples, by full scale. Compressed data reaches 0.3 to 0.5, speech 0.1.
#: What is this loud is audio only where the samples before it are nearly as loud.
_LOUD, _LOUDER = 0.25, 3.0
#: Noise resembles the noise before it: its roughness and loudness differ by no more than this.
_AS_ROUGH, _AS_LOUD = 0.2, 1.5

_INTEGER, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


class SampleLayout(NamedTuple):
    """How a WAV stores samples: the tag of its format (mmreg.h), channels, and bytes of one."""

    tag: int
    channels: int
    sample_bytes: int

    @property
    def block(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * self.sample_bytes


def layout(reader: BoundedReader, body: int, size: int) -> SampleLayout | None:
    """Read a ``fmt`` chunk; ``None`` for codecs whose bytes are no samples."""
    tag, channels = reader.uint_le(body, 2), reader.uint_le(body + 2, 2)
    if tag == _EXTENSIBLE and size >= 26:
        tag = reader.uint_le(body + 24, 2)
    width = -(-reader.uint_le(body + 14, 2) // 8)
    if tag in (_A_LAW, _MU_LAW):
        width = 1
    widths = {_INTEGER: (1, 2, 3, 4, 8), _FLOAT: (4, 8), _A_LAW: (1,), _MU_LAW: (1,)}
    return SampleLayout(tag, channels, width) if channels and width in widths.get(tag, ()) else None


def continues(reader: BoundedReader, form: SampleLayout, start: int, end: int) -> bool:
    """Return whether the samples from ``start`` to ``end`` go on to the end of the file."""
    end -= (end - start) % form.block
    after = _measured(reader, form, end, reader.size)
    if after is None:
        return False
    roughness, loudness = after
    rougher, louder = 0.0, math.inf
    if before := _measured(reader, form, start, end):
        rougher, louder = roughness - before[0], loudness / before[1]
    if roughness <= _SMOOTH:
        return loudness <= _LOUD or louder <= _LOUDER
    return abs(rougher) <= _AS_ROUGH and 1 / _AS_LOUD <= louder <= _AS_LOUD


def _measured(
    reader: BoundedReader, form: SampleLayout, start: int, end: int
) -> tuple[float, float] | None:
    """Return roughness and loudness of the samples in a range, ``None`` where nothing moves.

    Values that are no samples at all, such as floats that are no numbers, are infinitely rough.
    """
    length = _PIECE_BYTES // form.block * form.block or form.block
    steps = deviations = count = 0.0
    for piece in range(_PIECES):
        at = start + (end - start - length) * piece // (_PIECES - 1) // form.block * form.block
        data = reader.at(max(start, at), min(length, (end - start) // form.block * form.block))
        values = _values(data, form)[:: form.channels]
        mean = sum(values) / max(1, len(values))
        steps += sum(abs(b - a) for a, b in pairwise(values))
        deviations += sum(abs(value - mean) for value in values)
        count += len(values)
    if math.isnan(deviations) or math.isinf(deviations):
        return math.inf, math.inf
    return (steps / deviations, deviations / count) if deviations else None


def _values(data: bytes, form: SampleLayout) -> Sequence[float]:
    """Decode samples to -1..1, of integers their highest 16 bits."""
    width = form.sample_bytes
    if form.tag == _FLOAT:
        floats = array("f" if width == 4 else "d", data)
        if sys.byteorder == "big":
            floats.byteswap()
        return [value if math.isfinite(value) else math.inf for value in floats]
    if form.tag == _MU_LAW:
        return [_MU_LAW_VALUES[byte] for byte in data]
    if form.tag == _A_LAW:
        return [_A_LAW_VALUES[byte] for byte in data]
    if width == 1:
        return [byte / 128 - 1 for byte in data]
    high = bytearray(len(data) // width * 2)
    high[::2], high[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    integers = array("h", high)
    if sys.byteorder == "big":
        integers.byteswap()
    return [value / 32768 for value in integers]


def _mu_law(code: int) -> float:
    """Expand a code of ITU-T G.711, table 2."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return (-magnitude if code & 0x80 else magnitude) / 32768


def _a_law(code: int) -> float:
    """Expand a code of ITU-T G.711, table 1."""
    code ^= 0x55
    segment, magnitude = code >> 4 & 7, (code & 0x0F) << 4 | 8
    magnitude = magnitude if segment == 0 else magnitude + 0x100 << segment - 1
    return (magnitude if code & 0x80 else -magnitude) / 32768


_MU_LAW_VALUES = tuple(map(_mu_law, range(256)))
_A_LAW_VALUES = tuple(map(_a_law, range(256)))
