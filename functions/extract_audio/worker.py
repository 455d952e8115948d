"""One recording becomes audio, a picture of its waveform, and chunks when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.core.ports import StoredObject
from shared.media import chunks, presets, waveform
from shared.media.presets import Recipe
from shared.media.tracks import Probe
from shared.service.object_writer import ObjectWriter
from shared.service.worker import VerifiedAudio, Worker
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl


@dataclass(frozen=True, kw_only=True)
class ExtractionWorker(Worker[ObjectWriter]):
    """Extracts recordings.

    Args:
        audio_preset: One of ``shared.media.presets``.
        audio_bitrate: In bits per second, for ``mp3`` and ``opus``.
        chunk_max_mb: The most megabytes of a chunk; 0 for no chunks.
    """

    audio_preset: str = "mp3"
    audio_bitrate: int = 128_000
    chunk_max_mb: float = 0.0

    def recipe(self, found: Probe) -> Recipe:
        return presets.for_preset(self.audio_preset, found.track, self.audio_bitrate)

    def writer(self, claim: Claim, control: WorkControl) -> ObjectWriter:
        return ObjectWriter(self.storage, claim, control, self.env)

    def publish(
        self, audio: VerifiedAudio, writer: ObjectWriter
    ) -> tuple[StoredObject, dict[str, Any]]:
        encoded, directory = audio.encoded, audio.context.directory
        picture = directory / "waveform.png"
        with audio.stages.timed("verify"):
            waveform.draw(audio.verified.levels, picture)
        with audio.stages.timed("chunks"), audio.context.job(encoded.duration_s) as job:
            limit = int(self.chunk_max_mb * 1_000_000)
            pieces = chunks.cut(encoded, limit, directory, job) if limit else []
        with audio.stages.timed("publish"):
            stored, published = writer.publish(
                encoded.path, encoded.recipe, picture, pieces, encoded.duration_s
            )
        return stored, {"chunks": published}
