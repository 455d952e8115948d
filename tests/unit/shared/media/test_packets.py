from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import Code, PermanentError
from shared.media import packets
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.process import Job


def table(base: str, rows: list[tuple[int, int]], size: int = 1 << 20) -> Iterator[bytes]:
    """Print packets of (pts, duration) as ``framecrc`` does, in blocks of some size."""
    lines = [f"#software: Lavf\n#tb 0: {base}\n#media_type 0: audio\n"]
    lines += [f"0, {pts:10}, {pts:10}, {duration:8}, 100, 0x1234\n" for pts, duration in rows]
    data = "".join(lines).encode()
    return (data[at : at + size] for at in range(0, len(data), size))


def read(base: str, rows: list[tuple[int, int]], size: int = 1 << 20) -> packets.Packets:
    return packets.read(table(base, rows, size), Job(Limits()), lambda _: None)


@given(st.integers(min_value=1, max_value=400))
def test_any_block_size_gives_the_same(size: int) -> None:
    rows = [(n * 1024, 1024) for n in range(20)]

    assert read("1/48000", rows, size) == read("1/48000", rows)


_LINES = st.lists(
    st.tuples(
        st.sampled_from([1024] * 6 + [0, 1, 900, 5000, 60_000, -3]),  # to the next packet
        st.sampled_from([1024] * 6 + [0, 20, 5000]),  # its duration
        st.sampled_from([100] * 9 + [0]),  # its size
        st.sampled_from([""] * 9 + [", F=0x5", ", F=0x0, S=1, Skip Samples, 10, 0x2"]),
        st.sampled_from([0] * 9 + [-7]),  # from its time to its decoding time
    ),
    min_size=20,
    max_size=60,
)


@given(_LINES, st.integers(min_value=100, max_value=1500), st.integers(-2000, 10), st.booleans())
def test_lines_taken_at_once_give_what_single_lines_give(
    lines: list[tuple[int, int, int, str, int]], size: int, at: int, regular: bool
) -> None:
    text = "#tb 0: 1/48000\n"
    for step, duration, bytes_, rest, delay in lines:
        text += f"0, {at + delay:10}, {at:10}, {duration:8}, {bytes_:8}, 0x1234{rest}\n"
        at += step
    data = text.encode()

    def outcome(size: int) -> packets.Packets | str:
        blocks = (data[at : at + size] for at in range(0, len(data), size))
        try:
            return packets.read(blocks, Job(Limits()), lambda _: None, regular=regular)
        except packets.IrregularTimesError as error:
            return str(error)

    # A block that contains the header is read line by line.
    assert outcome(size) == outcome(len(data))


def test_milliseconds_round_but_do_not_add_up() -> None:
    rows = [(n * 1024 * 1000 // 48000, 21) for n in range(10_000)]

    assert read("1/1000", rows).duration_s == pytest.approx(10_000 * 1024 / 48000, abs=0.03)


@pytest.mark.parametrize("stretched", [False, True])
def test_a_gap_does_not_count(stretched: bool) -> None:
    rows = [(n * 1024 + (480_000 if n >= 50 else 0), 1024) for n in range(100)]
    if stretched:  # as in an MP4
        rows[49] = (rows[49][0], 1024 + 480_000)

    found = read("1/48000", rows)

    assert found.duration_s == pytest.approx(100 * 1024 / 48000)


def test_packets_before_zero_are_the_encoder_s_delay() -> None:
    found = read("1/48000", [(n * 1024 - 1024, 1024) for n in range(11)])

    assert found.duration_s == pytest.approx(10 * 1024 / 48000)
    assert found.first_s == 0


def test_a_shorter_last_packet() -> None:
    assert read("1/1000", [(0, 20), (20, 20), (40, 7)]).duration_s == pytest.approx(0.047)


def test_packets_of_many_lengths() -> None:
    lengths = [128, 1024, 1024, 128, 576, 1024] * 50
    rows, at = [], 0
    for length in lengths:
        rows.append((at, length))
        at += length

    assert read("1/44100", rows).duration_s == pytest.approx(sum(lengths) / 44100)


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**40)), max_size=40))
def test_nonsense_gives_some_length(rows: list[tuple[int, int]]) -> None:
    found = read("1/1000", rows)

    assert found.count == len(rows)


def test_times_without_any_order_are_refused() -> None:
    chance = random.Random(1)
    rows = [(chance.randrange(1 << 40), chance.randrange(1, 1 << 20)) for _ in range(70_000)]

    with pytest.raises(PermanentError) as caught:
        read("1/48000", rows)
    assert caught.value.code is Code.CORRUPT


def test_more_packets_than_any_recording_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_PACKETS", 1000)
    rows = [(n * 1024, 1024) for n in range(1001)]

    assert read("1/48000", rows[:1000]).count == 1000
    for reader in (lambda: read("1/48000", rows), lambda: list(packets.rows(table("1/1", rows)))):
        with pytest.raises(PermanentError) as caught:
            reader()
        assert caught.value.code is Code.CORRUPT


@pytest.mark.parametrize(
    ("rows", "irregular"),
    [
        ([(n * 1024 - 1024, 1024) for n in range(9)], None),
        ([(0, 1024), (1100, 1024), (5000, 1024)], None),  # less than a second from one to the next
        ([(10, 1024), (1034, 1024)], 1),
        ([(0, 1024), (1024, 1024), (100_000, 1024)], 3),
        ([(0, 1024), (-5, 1024)], 2),
    ],
)
def test_times_that_would_be_changed_are_irregular(
    rows: list[tuple[int, int]], irregular: int | None
) -> None:
    if irregular is None:
        assert packets.read(table("1/48000", rows), Job(Limits()), lambda _: None, regular=True)
        return
    with pytest.raises(packets.IrregularTimesError, match=f"packet {irregular} is at"):
        packets.read(table("1/48000", rows), Job(Limits()), lambda _: None, regular=True)
