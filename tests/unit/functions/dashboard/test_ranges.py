"""Range requests, as RFC 9110 has them."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.dashboard.ranges import (
    Span,
    UnsatisfiableError,
    blocks,
    http_date,
    is_current,
    requested,
)
from tests.unit.functions.dashboard.conftest import AUDIO, Bench

WHEN = datetime(2026, 11, 25, 12, 0, 0, 999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-", Span(0, 100)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=90-200", Span(90, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("BYTES = 1-2", Span(1, 3)),
        # Ignored: everything is sent.
        ("bytes=5-2", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("items=0-1", None),
        ("bytes=0-1,5-6", None),
        ("bytes=٣-٤", None),
        ("bytes=0-" + "9" * 5000, None),
        ("bytes=-" + "9" * 5000, None),
    ],
)
def test_the_range_of_a_header(header: str | None, span: Span | None) -> None:
    assert requested(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_behind_the_end(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        requested(header, 100)


@given(st.integers(0, 300), st.integers(0, 300), st.binary(min_size=1, max_size=200))
def test_a_span_is_the_slice(start: int, length: int, data: bytes) -> None:
    try:
        span = requested(f"bytes={start}-{start + length}", len(data))
    except UnsatisfiableError:
        assert start >= len(data)
        return
    assert span is not None
    assert b"".join(blocks(io.BytesIO(data), span)) == data[start : start + length + 1]


def test_if_range_needs_the_same_tag_or_date() -> None:
    assert is_current(None, '"a"', WHEN)
    assert is_current('"a"', '"a"', WHEN)
    assert is_current(http_date(WHEN), '"a"', WHEN)
    assert not is_current('"b"', '"a"', WHEN)
    assert not is_current('W/"a"', '"a"', WHEN)
    assert not is_current("Wed, 25 Nov 2026 12:00:01 GMT", '"a"', WHEN)


def test_audio_is_sent_by_ranges(bench: Bench) -> None:
    key = bench.add()
    whole = bench.get(f"/audio/{key}")
    assert (whole.status_code, whole.data) == (200, AUDIO)
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Type"] == "audio/mpeg"

    part = bench.get(f"/audio/{key}", Range="bytes=100-199")
    assert (part.status_code, part.data) == (206, AUDIO[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(AUDIO)}"
    assert part.headers["Content-Length"] == "100"

    tag = whole.headers["ETag"]
    same = bench.get(f"/audio/{key}", **{"Range": "bytes=-5", "If-Range": tag})
    assert (same.status_code, same.data) == (206, AUDIO[-5:])
    other = bench.get(f"/audio/{key}", **{"Range": "bytes=-5", "If-Range": '"other"'})
    assert (other.status_code, other.data) == (200, AUDIO)
    dated = bench.get(
        f"/audio/{key}", **{"Range": "bytes=0-1", "If-Range": whole.headers["Last-Modified"]}
    )
    assert dated.status_code == 206

    behind = bench.get(f"/audio/{key}", Range=f"bytes={len(AUDIO)}-", Accept="*/*")
    assert behind.status_code == 416
    assert behind.headers["Content-Range"] == f"bytes */{len(AUDIO)}"

    assert bench.get(f"/audio/{key}", **{"If-None-Match": tag}).status_code == 304
    head = bench.client.head(f"/audio/{key}", headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.data) == (206, b"")
    assert head.headers["Content-Length"] == "10"
