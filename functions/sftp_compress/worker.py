"""One audio file of the SFTP server becomes a small one, and a row of the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.sftp_compress.manifest import Entry, Manifest
from functions.sftp_compress.objects import CompressedObjectWriter
from shared.core import naming
from shared.core.ports import Mirror, StoredObject
from shared.media import presets
from shared.media.presets import Recipe
from shared.media.probe import Probe
from shared.service.object_writer import file_sha256
from shared.service.worker import VerifiedAudio, Worker
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl


@dataclass(frozen=True, kw_only=True)
class CompressionWorker(Worker[CompressedObjectWriter]):
    """Compresses files.

    Args:
        output_dir: Where the objects and the manifest are, below ``env``.
        output_format: One of ``shared.media.presets.for_compression``.
        sample_rate: In Hz.
        channels: 1 or 2.
        bitrate: In bits per second.
        mirror: Gets a copy of each object and of the manifest, if given.
    """

    output_dir: str = "compressed"
    output_format: str = "wav"
    sample_rate: int = 16_000
    channels: int = 1
    bitrate: int = 32_000
    mirror: Mirror | None = None

    def recipe(self, found: Probe) -> Recipe:
        del found
        return presets.for_compression(
            self.output_format, self.sample_rate, self.channels, self.bitrate
        )

    def writer(self, claim: Claim, control: WorkControl) -> CompressedObjectWriter:
        return CompressedObjectWriter(self.storage, claim, control, self.env, self.output_dir)

    def publish(
        self, audio: VerifiedAudio, writer: CompressedObjectWriter
    ) -> tuple[StoredObject, dict[str, Any]]:
        """Write the object, then the manifest; the caller then writes DONE.

        In this order a run after a crash repairs the manifest.
        """
        encoded = audio.encoded
        name = naming.manifest_object(self.env, self.output_dir)
        manifest = Manifest(storage=self.storage, name=name, clock=self.tracker.clock)
        with audio.stages.timed("publish"):
            stored = writer.audio(encoded.path, encoded.recipe, encoded.duration_s)
        with audio.stages.timed("manifest"):
            sha256, now = file_sha256(encoded.path), self.tracker.clock()
            entry = Entry.of(audio.item, stored, sha256, encoded.duration_s, now)
            earlier = manifest.add(entry, check=writer.control.renew)
            if earlier and earlier["object"] != stored.name:
                writer.remove(earlier["object"])
        if self.mirror:
            with audio.stages.timed("mirror"):
                folder = manifest.name.removesuffix("manifest.json")
                self.mirror.put(stored.name.removeprefix(folder), encoded.path)
                manifest.copy_to(self.mirror.put, "manifest.json")
        return stored, {}
