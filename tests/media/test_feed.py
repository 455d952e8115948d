"""A remote WAV is fed to FFmpeg through a pipe: the same output, and the right end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.core.errors import Code, PermanentError, TransientError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource
from shared.core.records import Status
from shared.media.source.read_ahead import MEMORY_BYTES
from shared.tracking.lease import Outcome
from tests.media import clips
from tests.media.containers import CountingSource
from tests.media.rig import RangeSources, Rig


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 55 MB, more than the cache of a source, in the least time: 72 s of long samples."""
    path = tmp_path_factory.mktemp("large") / "large.wav"
    clips.run("-stream_loop", "3", *clips.speech(18, 48000, 2), "-c:a", "pcm_f64le", path)
    assert path.stat().st_size > MEMORY_BYTES
    return path


class Sources(RangeSources):
    """Files that call ``beyond`` before every read beyond the middle."""

    def __init__(self, beyond: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._beyond = beyond
        self.opened: list[CountingSource] = []

    def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
        path = Path(item.source_id)
        middle = path.stat().st_size // 2

        def before_read(offset: int, length: int) -> None:
            if offset + length > middle:
                self._beyond()

        self.opened.append(CountingSource(path, before_read=before_read))
        return self.opened[-1]


class Silence:
    """Blocks every caller; ``reached`` is set when one has come."""

    def __init__(self) -> None:
        self.reached, self._over = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self._over.wait(20)
        raise TransientError("closed")

    def end(self) -> None:
        self._over.set()


@pytest.mark.parametrize("preset", ["mp3", "copy", "whisper"])
def test_the_same_file_comes_of_it_and_every_byte_is_read_once(
    preset: str, large: Path, worker: Rig
) -> None:
    here, sources = worker.extract(large, preset), Sources()

    there = worker.extract(large, preset, sources=sources)

    assert _sha256(there.path) == _sha256(here.path)
    # Plus the head, read to detect the type, and the last block, read to check the header.
    assert sources.opened[0].bytes_read <= large.stat().st_size + (8 << 20)


def chunks(wave: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a short WAV, whole, by their names."""
    found, at = {}, 12
    while at < len(wave):
        end = at + 8 + int.from_bytes(wave[at + 4 : at + 8], "little")
        found[wave[at : at + 4]] = wave[at:end]
        at = end + end % 2
    return found


@pytest.mark.parametrize("preset", ["mp3", "copy"])
@pytest.mark.parametrize("order", [(b"data", b"fmt "), (b"fmt ", b"data", b"data")])
def test_a_wave_in_an_odd_order_is_read_as_a_local_one_is(
    order: tuple[bytes, ...], preset: str, shelf: Callable[[str], Path], worker: Rig, tmp_path: Path
) -> None:
    parts = chunks(shelf("a.wav").read_bytes())
    body = b"WAVE" + b"".join(parts[name] for name in order)
    path = tmp_path / "odd.wav"
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)

    there = worker.extract(path, preset, sources=Sources())

    assert _sha256(there.path) == _sha256(worker.extract(path, preset).path)


def test_a_source_that_breaks_is_not_the_end_of_the_file(large: Path, worker: Rig) -> None:
    def broken() -> None:
        raise TransientError("the line is down")

    made = worker.extract(large, sources=Sources(broken))

    assert made.result.outcome is Outcome.RETRY, made.result
    assert not list(made.storage.list())


def test_a_source_that_is_gone_is_reported(large: Path, worker: Rig) -> None:
    deleted = PermanentError(Code.GONE, "it was deleted while it was read")

    class Deleted(Sources):
        def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
            if self.opened:
                raise deleted
            return super().open(item)

    def gone() -> None:
        raise deleted

    worker.extract(large, sources=Deleted(gone)).ended_as(Status.SKIPPED, Code.GONE)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_a_source_that_falls_silent_may_answer_later(preset: str, large: Path, worker: Rig) -> None:
    silence = Silence()

    made = worker.extract(large, preset, sources=Sources(silence), stall_s=1)

    silence.end()
    assert made.result.outcome is Outcome.RETRY, made.result


def test_cancelled_while_it_waits_for_the_source(large: Path, worker: Rig) -> None:
    silence = Silence()
    worker.cancelled = silence.reached.is_set

    made = worker.extract(large, sources=Sources(silence))

    silence.end()
    assert made.result.outcome is Outcome.CANCELLED, made.result


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
