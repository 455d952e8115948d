"""One file of the SFTP server becomes small: claim, stream, encode, verify, publish, list.

Sees ports only. The command line and the push endpoint call this one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from functions.sftp_compress.manifest import Entry, Manifest
from functions.sftp_compress.objects import CompressedObjectWriter
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core import naming
from shared.core.errors import MessageError
from shared.core.message import Source, SourceFile
from shared.core.ports import ByteSource, Mirror, OnProgress, Sources, Storage, StoredObject
from shared.media import encode, presets, probe, verify
from shared.media.encode import EncodeContext, Encoded
from shared.media.presets import Recipe
from shared.media.source import inputs
from shared.media.verify import Verified
from shared.runtime.stopwatch import Stages
from shared.runtime.workdir import work_directory
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import Result, WorkControl
from shared.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class CompressionWorker:
    """Compresses files. ``mirror``, if any, gets a copy of each object and the manifest."""

    tracker: Tracker
    storage: Storage
    sources: Sources
    settings: Settings
    mirror: Mirror | None = None
    stall_s: float = 60.0

    @classmethod
    def of(cls, services: Services) -> Self:
        """Return the worker over what the settings name."""
        return cls(
            tracker=services.tracker,
            storage=services.storage,
            sources=services.sftp_sources,
            settings=services.settings,
            mirror=services.sftp_mirror,
        )

    def process(
        self,
        item: SourceFile,
        *,
        published_at: datetime | None = None,
        runner: str = "push",
        cancelled: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = lambda _: None,
    ) -> Result:
        """Compress one file, once, and say how it ended (``shared.tracking.lease.run``).

        Raises ``MessageError`` for a file of another source.
        """
        if item.source != Source.SFTP:
            raise MessageError(f"no such source here: {item.source}", item.encode())
        return lease.run(
            self.tracker,
            item,
            lambda claim, control: self._compress(item, claim, control),
            published_at=published_at,
            runner=runner,
            cancelled=cancelled,
            on_progress=on_progress,
        )

    @property
    def recipe(self) -> Recipe:
        """How the settings want it."""
        one = self.settings
        return presets.for_compression(
            one.output_format, one.sample_rate, one.channels, one.bitrate
        )

    @property
    def manifest(self) -> Manifest:
        """The list of all compressed files."""
        name = naming.manifest_object(self.settings.pipeline_env, self.settings.output_dir)
        return Manifest(storage=self.storage, name=name, clock=self.tracker.clock)

    def _compress(self, item: SourceFile, claim: Claim, control: WorkControl) -> dict[str, Any]:
        stages = Stages()
        with (
            closing(self.sources.open(item)) as source,
            work_directory() as directory,
        ):
            work = self._work(directory, control)
            encoded = self._encode(source, item.name, work, stages)
            with stages.timed("verify"), work.job(encoded.duration_s) as job:
                verified = verify.verify(encoded, job)
            source.check_unchanged()
            writer = CompressedObjectWriter(
                self.storage, claim, control, self.settings.pipeline_env, self.settings.output_dir
            )
            return self._publish(item, encoded, verified, writer, stages)

    def _work(self, directory: Path, control: WorkControl) -> EncodeContext:
        return EncodeContext(
            directory=directory,
            workers=self.settings.encode_workers,
            max_duration_s=self.settings.max_duration_hours * 3600,
            stall_s=self.stall_s,
            cancelled=control.should_stop,
            on_progress=control.progress,
        )

    def _encode(
        self, source: ByteSource, name: str, work: EncodeContext, stages: Stages
    ) -> Encoded:
        with inputs.reachable(source, name) as input_:
            with stages.timed("probe"), work.job(None) as job:
                found = probe.probe(input_, job)
            with stages.timed("encode"):
                return encode.encode(input_, found, self.recipe, work)

    def _publish(
        self,
        item: SourceFile,
        encoded: Encoded,
        verified: Verified,
        writer: CompressedObjectWriter,
        stages: Stages,
    ) -> dict[str, Any]:
        with stages.timed("publish"):
            stored = writer.audio(encoded.path, encoded.recipe, encoded.duration_s)
        with stages.timed("manifest"):
            self._list(item, encoded, stored, writer)
        if self.mirror:
            with stages.timed("mirror"):
                self._copy(self.mirror, stored, encoded.path)
        now = self.tracker.clock()
        fields = writer.done(encoded, verified, stored, now)
        writer.log(now, fields, encoded.recipe, stages.seconds)
        return fields

    def _list(
        self,
        item: SourceFile,
        encoded: Encoded,
        stored: StoredObject,
        writer: CompressedObjectWriter,
    ) -> None:
        entry = Entry.of(
            item, stored, _sha256(encoded.path), encoded.duration_s, self.tracker.clock()
        )
        earlier = self.manifest.add(entry, check=writer.control.renew)
        if earlier and earlier["object"] != stored.name:
            writer.remove(earlier["object"])

    def _copy(self, mirror: Mirror, stored: StoredObject, path: Path) -> None:
        name = self.manifest.name
        folder = name.removesuffix("manifest.json")
        mirror.put(stored.name.removeprefix(folder), path)
        self.manifest.copy_to(mirror.put, name.removeprefix(folder))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
