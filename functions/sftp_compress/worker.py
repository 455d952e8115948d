"""One audio file of the SFTP server becomes a small one, and a row of the manifest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from functions.sftp_compress.manifest import Entry, Manifest
from functions.sftp_compress.nightly import ScanNote
from functions.sftp_compress.objects import CompressedObjectWriter
from shared.core import naming
from shared.core.errors import is_transient
from shared.core.message import Source, SourceFile
from shared.core.ports import Mirror, StoredObject
from shared.media import presets
from shared.media.presets import Recipe
from shared.media.tracks import Probe
from shared.service.object_writer import file_sha256
from shared.service.worker import VerifiedAudio, Worker
from shared.tracking.claim import Claim
from shared.tracking.lease import Outcome, Result, RunOptions, WorkControl

log = logging.getLogger(__name__)

_DEFAULTS = RunOptions()


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

    @property
    def manifest(self) -> Manifest:
        """The list of all compressed files."""
        return Manifest(
            storage=self.storage,
            name=naming.manifest_object(self.env, self.output_dir),
            parts=naming.manifest_parts(self.env, self.output_dir),
            clock=self.tracker.clock,
        )

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
        """Write the object, then its row of the manifest; the caller then writes DONE.

        In this order a run after a crash repairs the manifest.
        """
        encoded = audio.encoded
        with audio.stages.timed("publish"):
            stored = writer.audio(encoded.path, encoded.recipe, encoded.duration_s)
        with audio.stages.timed("manifest"):
            sha256, now = file_sha256(encoded.path), self.tracker.clock()
            entry = Entry.of(audio.item, stored, sha256, encoded.duration_s, now)
            replaces = writer.replaced_by(stored)
            writer.control.renew()
            self.manifest.add(entry, replaces, generation=stored.generation)
        if self.mirror:
            with audio.stages.timed("mirror"):
                name = stored.name.removeprefix(self.manifest.name.removesuffix("manifest.json"))
                self.mirror.put(name, encoded.path)
                # Another revision's worker may have replaced the object meanwhile.
                copied = stored.generation
                while (there := self.storage.stat(stored.name)) and there.generation != copied:
                    with self.storage.open(stored.name) as file:
                        self.mirror.put(name, file.read())
                    copied = there.generation
        with audio.stages.timed("manifest"):
            self.merge_manifest(key=audio.item.key)
        return stored, {}

    def process(self, item: SourceFile, options: RunOptions = _DEFAULTS) -> Result:
        """Process one file, once, and merge the manifest if no other file follows.

        When several workers end at the same time, each may leave the merge to another; so the
        last one merges after its recording has ended. If a merge fails, or the worker is killed,
        the queue delivers the message again.
        """
        result = super().process(item, options)
        if result.outcome is Outcome.CANCELLED:
            return result
        try:
            self.merge_manifest()
        except Exception as error:
            if is_transient(error):
                log.warning("the manifest was not merged: %s", error)
                return Result(Outcome.RETRY, result.recording, error)
            log.exception("the manifest was not merged")
        return result

    def merge_manifest(self, key: str = "", *, now: bool = False) -> None:
        """Merge the rows that were added, unless that is left to files that follow.

        While files other than ``key`` are in flight, or a scan may find more, a long manifest is
        merged seldom, so that its length costs no file more than another. ``now`` merges in
        any case.
        """
        manifest = self.manifest
        if not manifest.has_parts():
            return
        if not now and manifest.was_merged_recently():
            if self.tracker.is_in_flight(Source.SFTP, other_than=key):
                return
            if ScanNote(self.tracker).is_valid():
                return
        manifest.merge(self.mirror.put if self.mirror else None)
