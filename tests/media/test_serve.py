"""The real FFmpeg reads through the loopback server what it reads from the file."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.errors import Code, PermanentError, TransientError
from shared.media.source.range_server import HTTP_INPUT_OPTIONS, RangeServer, serve
from tests.media.containers import FFMPEG, CountingSource, ffmpeg, make_clip, make_container

KIB = 1 << 10
NAMES = (
    *("last.mp4", "first.mp4", "fragmented.mp4", "a.mov", "a.mkv", "live.mkv", "a.webm"),
    *("a.wav", "a.avi", "a.ts", "a.flv", "a.mp3", "a.aac", "a.opus"),
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def clip(clips: Path, name: str) -> Path:
    path = clips / name
    return path if path.exists() else make_container(clips, name)


def packets(*source: str | Path) -> bytes:
    return ffmpeg(*source, "-map", "0:a:0", "-c", "copy", "-f", "framemd5", "-")


def samples(*source: str | Path) -> bytes:
    return ffmpeg(*source, "-map", "0:a:0", "-f", "hash", "-")


def served(server: RangeServer) -> tuple[str, ...]:
    return (*HTTP_INPUT_OPTIONS, "-i", server.url)


def run_on(server: RangeServer, *, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
    command = [FFMPEG, "-nostdin", *served(server), "-map", "0:a:0", "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, check=False, env={}, timeout=timeout)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("name", NAMES)
def test_ffmpeg_gets_the_file_s_own_bytes_and_fetches_them_once(clips: Path, name: str) -> None:
    path = clip(clips, name)
    source = CountingSource(path)
    with serve(source, name=name, block_bytes=64 * KIB) as server:
        by_http = packets(*served(server))
        requests = server.requests
        fetched = source.bytes_read
    source.close()
    assert by_http == packets("-i", path)
    assert by_http.count(b"\n") > 20
    assert fetched <= 1.15 * source.size
    assert requests <= 5


@pytest.mark.parametrize("name", ["last.mp4", "first.mp4", "fragmented.mp4", "a.mkv"])
def test_a_file_far_larger_than_the_cache_is_fetched_once(clips: Path, name: str) -> None:
    source = CountingSource(clip(clips, name))
    # The cache must hold what the kernel takes ahead of a jump, here as in real life.
    with serve(source, name=name, block_bytes=64 * KIB, memory_bytes=1536 * KIB) as server:
        packets(*served(server))
    source.close()
    assert source.size > 5 * 1536 * KIB
    assert source.bytes_read <= 1.15 * source.size


@pytest.mark.parametrize("name", ["last.mp4", "fragmented.mp4", "a.webm", "a.wav"])
def test_decoded_audio_is_that_of_the_file(clips: Path, name: str) -> None:
    path = clip(clips, name)
    source = CountingSource(path)
    with serve(source, name=name) as server:
        assert samples(*served(server)) == samples("-i", path)
    source.close()


def test_probing_and_then_decoding_fetches_a_small_file_once(clips: Path) -> None:
    source = CountingSource(clip(clips, "last.mp4"))
    with serve(source, block_bytes=16 * KIB, memory_bytes=2 * source.size) as server:
        for _ in range(2):
            packets(*served(server))
    source.close()
    assert source.bytes_read == source.size
    assert len(source.reads) == len(set(source.reads))


class OverlappingSource(CountingSource):
    """Counts how many reads are under way at the same time."""

    def __init__(self, path: Path, *, latency_s: float) -> None:
        super().__init__(path, latency_s=latency_s)
        self.running = self.most = 0

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return super().read(offset, length)
        finally:
            with self._lock:
                self.running -= 1


def test_a_slow_source_is_read_by_several_requests_at_once(clips: Path) -> None:
    path = clip(clips, "first.mp4")
    source = OverlappingSource(path, latency_s=0.05)
    block = source.size // 40
    with serve(source, block_bytes=block, memory_bytes=12 * block) as server:
        packets(*served(server))
    source.close()
    assert len(source.reads) >= 40
    assert source.most > 1


def test_a_long_silence_of_the_source_is_waited_out(clips: Path) -> None:
    path = clip(clips, "a.wav")
    stalled = threading.Event()

    def stall_once(offset: int, _: int) -> None:
        if offset > 100 * KIB and not stalled.is_set():
            stalled.set()
            time.sleep(1.5)

    source = CountingSource(path, before_read=stall_once)
    with serve(source, name="a.wav", block_bytes=32 * KIB) as server:
        assert samples(*served(server)) == samples("-i", path)
    source.close()
    assert stalled.is_set()


@pytest.mark.parametrize("name", ["first.mp4", "last.mp4", "a.mkv", "a.wav", "a.ts"])
@pytest.mark.parametrize(
    "error",
    [TransientError("the network is down"), PermanentError(Code.GONE, "It was deleted.")],
    ids=["transient", "permanent"],
)
def test_a_source_that_fails_midway_is_reported_and_ends_ffmpeg(
    clips: Path, name: str, error: Exception
) -> None:
    path = clip(clips, name)
    middle = path.stat().st_size // 2

    def fail_in_the_middle(offset: int, length: int) -> None:
        if offset <= middle < offset + length:
            raise error

    source = CountingSource(path, before_read=fail_in_the_middle)
    with serve(source, name=name, block_bytes=16 * KIB) as server:
        run_on(server, timeout=20)
        assert server.failure is error
        # What comes after it does not make the server forget it, or work again.
        assert run_on(server, timeout=20).returncode != 0
        assert server.failure is error
    source.close()


def test_a_source_that_gives_too_little_is_a_failure(clips: Path) -> None:
    path = clip(clips, "a.wav")
    source = CountingSource(path)
    source.size += 100_000
    with serve(source, name="a.wav", block_bytes=64 * KIB) as server:
        run_on(server)
        assert isinstance(server.failure, TransientError)
    source.close()


def test_the_wrong_path_gives_ffmpeg_nothing(clips: Path) -> None:
    source = CountingSource(clip(clips, "a.wav"))
    with serve(source, name="a.wav") as server:
        address, _, _ = server.url.rpartition("/")
        address = address[:-1] + ("A" if address[-1] != "A" else "B")
        command = [FFMPEG, "-nostdin", *HTTP_INPUT_OPTIONS, "-i", f"{address}/recording.wav"]
        done = subprocess.run(command, capture_output=True, check=False, env={}, timeout=20)
    source.close()
    assert b"404" in done.stderr
    assert source.reads == []


def test_closing_ends_quickly_with_a_stalled_ffmpeg(clips: Path) -> None:
    path = make_clip(clips / "long.wav", "-vn", "-ac", "2", seconds=60)
    source = CountingSource(path)
    with serve(source, name="a.wav", block_bytes=256 * KIB) as server:
        # Its output is not read, so FFmpeg stops reading its input.
        command = [FFMPEG, "-nostdin", *served(server), "-f", "s16le", "-"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
        )
        assert process.stdout
        assert process.stdout.read(1000)
        started = time.monotonic()
    elapsed = time.monotonic() - started
    process.kill()
    process.wait()
    process.stdout.close()
    source.close()
    assert elapsed < 10  # FFmpeg would wait for ever
    assert source.bytes_read < source.size
