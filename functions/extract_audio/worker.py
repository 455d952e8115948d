"""One recording becomes audio: claim, probe, extract, verify, publish, finish.

Sees ports only. The command line, the push endpoint and the job all call this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.config.settings import Settings
from shared.core.errors import MessageError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource, OnProgress, Sources, Storage
from shared.media import chunks, encode, presets, probe, verify, waveform
from shared.media.encode import EncodeContext, Encoded
from shared.media.source import inputs
from shared.runtime.stopwatch import Stages
from shared.runtime.workdir import work_directory
from shared.service.object_writer import ObjectWriter
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import Result, WorkControl
from shared.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class ExtractionWorker:
    """Extracts recordings. ``sources`` are by the name of their source: ``drive``, ``local``."""

    tracker: Tracker
    storage: Storage
    sources: Mapping[str, Sources]
    settings: Settings
    stall_s: float = 60.0

    def process(
        self,
        item: SourceFile,
        *,
        published_at: datetime | None = None,
        runner: str = "push",
        cancelled: Callable[[], bool] = lambda: False,
        limit_s: float | None = None,
        on_progress: OnProgress = lambda _: None,
    ) -> Result:
        """Extract one recording, once, and say how it ended (``shared.tracking.lease.run``).

        Raises ``MessageError`` for a source that this worker does not handle.
        """
        if item.source not in self.sources:
            raise MessageError(f"no such source here: {item.source}", item.encode())
        return lease.run(
            self.tracker,
            item,
            lambda claim, control: self._extract(item, claim, control),
            published_at=published_at,
            runner=runner,
            cancelled=cancelled,
            limit_s=limit_s,
            on_progress=on_progress,
        )

    def _extract(self, item: SourceFile, claim: Claim, control: WorkControl) -> dict[str, Any]:
        stages = Stages()
        with (
            closing(self.sources[item.source].open(item)) as source,
            work_directory() as directory,
        ):
            work = self._work(directory, control)
            encoded = self._encode(source, item.name, work, stages)
            source.check_unchanged()
            return self._publish(encoded, claim, control, work, stages)

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
            recipe = presets.for_preset(
                self.settings.audio_preset, found.track, self.settings.audio_bitrate
            )
            with stages.timed("encode"):
                return encode.encode(input_, found, recipe, work)

    def _publish(
        self,
        encoded: Encoded,
        claim: Claim,
        control: WorkControl,
        work: EncodeContext,
        stages: Stages,
    ) -> dict[str, Any]:
        with work.job(encoded.duration_s) as job:
            with stages.timed("verify"):
                verified = verify.verify(encoded, job)
                picture = work.directory / "waveform.png"
                waveform.draw(verified.levels, picture, job)
            with stages.timed("chunks"):
                limit = int(self.settings.chunk_max_mb * 1_000_000)
                pieces = chunks.cut(encoded, limit, work.directory, job) if limit else []
        writer = ObjectWriter(self.storage, claim, control, self.settings.pipeline_env)
        with stages.timed("publish"):
            stored, published = writer.publish(
                encoded.path, encoded.recipe, picture, pieces, encoded.duration_s
            )
        now = self.tracker.clock()
        fields = writer.done(encoded, verified, stored, now) | {"chunks": published}
        writer.log(now, fields, encoded.recipe, stages.seconds)
        return fields
