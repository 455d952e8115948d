"""The cache stays within its limit, fetches nothing twice in order, and hides no error."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.errors import TransientError
from shared.media.source.read_ahead import CLOSE_SECONDS, ReadAhead

BLOCK = 100


class Source:
    """Bytes that encode their own offset; records the reads, and can block."""

    local_path = None

    def __init__(self, size: int = 100 * BLOCK) -> None:
        self.content = bytes(n * 7 % 251 for n in range(size))
        self.size = size
        self.reads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.at_once = 0
        self.most_at_once = 0

    def read(self, offset: int, length: int) -> bytes:
        with self.lock:
            self.reads.append(offset // BLOCK)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(30)
        time.sleep(0.001)
        with self.lock:
            self.at_once -= 1
        return self.content[offset : offset + length]

    def check_unchanged(self) -> None:
        """Nothing here ever changes."""

    def close(self) -> None:
        """Nothing to release."""


def read_ahead(source: Source, *, blocks: int = 12, workers: int = 4) -> ReadAhead:
    return ReadAhead(source, block_bytes=BLOCK, memory_bytes=blocks * BLOCK, workers=workers)


def test_reading_in_order_fetches_each_block_once_and_several_at_a_time() -> None:
    source = Source()
    ahead = read_ahead(source)
    content = b"".join(ahead.read(offset, 30) for offset in range(0, source.size, 30))
    ahead.close()
    assert content == source.content
    assert sorted(source.reads) == list(range(100))
    assert 2 <= source.most_at_once <= 4


def test_a_jump_fetches_one_block_and_keeps_earlier_ones() -> None:
    source = Source()
    ahead = read_ahead(source)
    for offset in (0, 9900, 10, 9910, 5000):
        assert ahead.read(offset, 10) == source.content[offset : offset + 10]
    ahead.close()
    assert source.reads == [0, 99, 50]


def test_a_read_across_blocks_and_past_the_end() -> None:
    source = Source(size=1050)
    ahead = read_ahead(source)
    assert ahead.read(95, 510) == source.content[95:605]
    assert ahead.read(1040, 100) == source.content[1040:]
    assert ahead.read(1050, 1) == b""
    assert ahead.read(9999, 1) == b""
    assert ahead.read(5, 0) == b""
    ahead.close()


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 400)), max_size=20),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_any_reads_from_several_threads_give_the_right_bytes(
    reads: list[tuple[int, int]], blocks: int, workers: int
) -> None:
    source = Source(size=1050)
    ahead = read_ahead(source, blocks=blocks, workers=workers)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda where: ahead.read(*where), reads))
    ahead.close()
    assert got == [source.content[offset : offset + length] for offset, length in reads]


def test_its_memory_never_exceeds_the_limit() -> None:
    source = Source()
    ahead = read_ahead(source, blocks=6, workers=8)
    most = 0
    for offset in [*range(0, 5000, 50), *range(9000, 3000, -170), *range(0, 9999, 35)]:
        ahead.piece(offset, 10)
        with ahead._changed:
            held = sum(map(len, ahead._blocks.values()))
            most = max(most, held + BLOCK * len(ahead._in_flight))
    ahead.close()
    assert 4 * BLOCK <= most <= 6 * BLOCK


def test_blocks_shrink_to_fit_the_limit() -> None:
    source = Source()
    ahead = ReadAhead(source, block_bytes=4 << 20, memory_bytes=1000)
    assert ahead.read(0, source.size) == source.content
    ahead.close()
    assert len(source.reads) == 40


def test_an_error_of_a_block_ahead_is_kept_until_it_is_read() -> None:
    class Failing(Source):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 500:
                raise TransientError("the network is down")
            return super().read(offset, length)

    ahead = read_ahead(Failing())
    with pytest.raises(TransientError, match="the network is down"):
        ahead.read(0, 1000)
    with pytest.raises(TransientError, match="the network is down"):
        ahead.read(0, 1)
    assert isinstance(ahead.failure, TransientError)
    ahead.close()


@pytest.mark.parametrize("answer", [b"", b"x" * 99, b"x" * 101])
def test_an_answer_of_the_wrong_length_is_an_error(answer: bytes) -> None:
    class Wrong(Source):
        def read(self, offset: int, length: int) -> bytes:
            return answer

    ahead = read_ahead(Wrong())
    with pytest.raises(TransientError, match="0 instead of 100"):
        ahead.read(0, 10)
    ahead.close()


def test_closing_wakes_waiting_readers_and_leaves_no_thread() -> None:
    source = Source()
    source.gate.clear()
    before = set(threading.enumerate())
    ahead = read_ahead(source)
    raised = threading.Event()

    def wait() -> None:
        with pytest.raises(ValueError, match="closed"):
            ahead.read(0, 10)
        raised.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not source.reads:
        time.sleep(0.001)
    threading.Timer(0.2, source.gate.set).start()
    ahead.close()
    waiting.join()
    assert raised.is_set()
    assert {t.name for t in set(threading.enumerate()) - before} == set()
    with pytest.raises(ValueError, match="closed"):
        ahead.read(0, 10)
    assert ahead.failure is None


def test_closing_does_not_wait_for_ever_for_a_read_that_hangs() -> None:
    source = Source()
    source.gate.clear()
    ahead = read_ahead(source, workers=1)

    def wait() -> None:
        with pytest.raises(ValueError, match="closed"):
            ahead.read(0, 10)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not source.reads:
        time.sleep(0.001)
    started = time.monotonic()
    ahead.close()
    assert time.monotonic() - started < CLOSE_SECONDS + 1
    source.gate.set()
    waiting.join()
    for thread in ahead._threads:
        thread.join(5)
        assert not thread.is_alive()
