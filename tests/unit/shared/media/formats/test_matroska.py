"""When a Matroska begins is found in bounded reads, and garbage proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.media.formats import matroska
from shared.media.formats.bounded_reader import MAX_BYTES
from tests.media import clips
from tests.unit.shared.media.formats.test_completeness import Source


@pytest.mark.parametrize("offset_s", [0, 7, 100_000])
@pytest.mark.parametrize("live", [(), ("-live", "1")])
def test_the_first_cluster_s_time(offset_s: int, live: tuple[str, ...], tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    clips.run(*clips.speech(2, 48000, 1), "-c:a", "flac", "-output_ts_offset", str(offset_s),
              *live, clip)  # fmt: skip

    assert matroska.first_time_s(Source(clip.read_bytes())) == pytest.approx(offset_s, abs=0.001)


def element(kind: int, body: bytes) -> bytes:
    return bytes.fromhex(f"{kind:x}") + (1 << 28 | len(body)).to_bytes(4, "big") + body


HEADER = element(0x1A45DFA3, b"")


@pytest.mark.parametrize(
    "segment",
    [
        b"",
        element(0x18538067, b""),
        element(0x18538067, element(0x1F43B675, element(0xA3, bytes(9)) + element(0xE7, b"\1"))),
        element(0x18538067, b"\xff"),
        element(0x1F43B675, element(0xE7, b"\1")),
    ],
)
def test_a_file_without_a_cluster_with_a_time(segment: bytes) -> None:
    assert matroska.first_time_s(Source(HEADER + segment)) is None


@given(st.binary(max_size=200))
def test_garbage_in_a_segment(body: bytes) -> None:
    source = Source(HEADER + bytes.fromhex("1853806701ffffffffffffff") + body, 1 << 30)
    found = matroska.first_time_s(source)
    assert found is None or found >= 0
    assert source.bytes_read <= MAX_BYTES
