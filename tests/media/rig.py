"""The whole worker over adapters in memory, as every entry point calls it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from functions.extract_audio.worker import ExtractionWorker
from shared.adapters.local.sources import LocalSources
from shared.adapters.memory import MemoryDocuments, MemoryStorage
from shared.core.errors import PermanentError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource, Storage
from shared.core.records import Audio, Recording, Status
from shared.tracking.lease import Outcome, Result, RunOptions
from shared.tracking.tracker import Tracker
from tests.media import clips
from tests.media.containers import CountingSource

#: What only a programmer understands: FFmpeg's vocabulary, addresses, exceptions.
_JARGON = re.compile(
    r"moov|atom|mdat|0x[0-9a-f]+|errno|demux|\bcodec_|bitstream|pts\b|dts\b|stderr|avio|EBML"
    r"|Traceback|Error\(|\[\w+ @|whitelist|fd:|http://|submitting|libav|filter|pipe:",
    re.IGNORECASE,
)


class RangeSources(LocalSources):
    """Local files as a remote source gives them: by range, with no path."""

    def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
        file = super().open(item)
        assert file.local_path is not None
        file.close()
        return CountingSource(file.local_path)


@dataclass(frozen=True)
class Extracted:
    """How one recording ended, and a copy of its audio to look at."""

    result: Result
    storage: Storage
    directory: Path

    @property
    def recording(self) -> Recording:
        assert self.result.recording is not None
        return self.result.recording

    @property
    def audio(self) -> Audio:
        assert self.result.outcome is Outcome.DONE, self.result
        assert self.recording.audio is not None
        return self.recording.audio

    @property
    def path(self) -> Path:
        return self.copied(self.audio.object)

    def copied(self, name: str) -> Path:
        path = self.directory / name.rpartition("/")[2]
        with self.storage.open(name) as file:
            path.write_bytes(file.read())
        return path

    def ended_as(self, status: Status, code: str) -> None:
        """Assert the end, an empty bucket, and an error message that people understand."""
        assert self.recording.status is status, self.result
        assert isinstance(self.result.error, PermanentError)
        error = self.recording.error
        assert error is not None
        assert error.code == code, error
        assert len(error.message.split()) > 3
        assert "\n" not in error.message
        assert not _JARGON.search(error.message), error.message
        assert not list(self.storage.list())


@dataclass
class Rig:
    """Extracts recordings, each with a tracker and a bucket of its own."""

    directory: Path
    count: int = 0
    cancelled: Callable[[], bool] = lambda: False
    sources: type[LocalSources] = LocalSources
    on_progress: Callable[[float], None] = lambda _: None
    lease: timedelta = timedelta(seconds=60)

    def extract(
        self,
        path: Path,
        preset: str = "mp3",
        *,
        sources: LocalSources | None = None,
        stall_s: float = 60,
        **settings: Any,
    ) -> Extracted:
        self.count += 1
        directory = self.directory / f"audio{self.count}"
        directory.mkdir()
        files = sources or self.sources()
        storage = MemoryStorage()
        worker = ExtractionWorker(
            tracker=Tracker(MemoryDocuments(), lease=self.lease),
            storage=storage,
            sources={"local": files},
            audio_preset=preset,
            **{"encode_workers": 2, **settings},
            stall_s=stall_s,
        )
        result = worker.process(
            files.describe(path),
            RunOptions(cancelled=self.cancelled, on_progress=self.on_progress),
        )
        return Extracted(result, storage, directory)


def stream_hashes(*paths: Path, stream: str = "a:0") -> list[bytes]:
    """Return of each file the hash of a stream's packets and of what its decoder needs first."""
    inputs = [part for path in paths for part in ("-i", path)]
    maps = [part for number in range(len(paths)) for part in ("-map", f"{number}:{stream}")]
    lines = clips.run(*inputs, *maps, "-c", "copy", "-f", "streamhash", "-").splitlines()
    return [line.rpartition(b",")[2] for line in lines]
